import json

import pytest

from castai_stack.access import entries as access_entries
from castai_stack.access import rbac
from castai_stack.access import text as access_text
from castai_stack.access.entries import LIMIT, MASTERS, NAME, NODE_GROUPS, NODE_USERNAME
from castai_stack.access.guards import Caller
from castai_stack.access.protocol import (
    COPY,
    KEPT,
    MARK,
    SOURCE,
    AskCaller,
    ConflictError,
    Create,
    Delete,
    Mark,
    Object,
    Patch,
    Put,
    Read,
    RefusedError,
    Remove,
    Seen,
    Send,
    Wait,
    mark_of,
)
from castai_stack.access.steps import carry_out, decide, live_entries, restored

ACCOUNT = "012345678901"
NODES = access_entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-nodes", NODE_USERNAME, NODE_GROUPS)
USER = access_entries.user(f"arn:aws:iam::{ACCOUNT}:user/cast-eks-demo", "cast-eks-demo", [MASTERS])
ADMIN = f"- {{rolearn: arn:aws:iam::{ACCOUNT}:role/admin, username: admin, groups: [{MASTERS}]}}\n"
NOBODY = Caller("")


def text_of(*entries):
    """A list that holds these entries of ours and nothing else."""
    text = ""
    for entry in entries:
        text = access_text.merged(access_text.parse(entry.kind, text), entry).text
    return text


def marked(*entries, **more):
    return {MARK: Mark(tuple(e.identity for e in entries), **more).as_text()}


def live(roles=ADMIN, *, annotations=None, **data):
    return Object("7", {"mapRoles": roles, **data}, annotations or {})


def copy(source="7", **annotations):
    return Object("3", {"mapRoles": ADMIN}, {SOURCE: source, **annotations})


def test_a_first_entry_keeps_the_whole_map_and_then_writes_one_list_and_the_mark():
    found = live(mapAccounts="- '9'")

    steps = decide(Seen(None, found), Put(NODES), NOBODY).steps

    assert steps == (
        Create(COPY, found.data, {SOURCE: "7"}),
        Patch(NAME, "7", {"mapRoles": ADMIN + text_of(NODES)}, marked(NODES)),
    )


def test_a_copy_of_another_time_is_replaced_and_keys_that_are_gone_go():
    old = Object("3", {"mapRoles": "old", "x": "y"}, {SOURCE: "2", KEPT: "true"})

    first = decide(Seen(old, live()), Put(NODES), NOBODY).steps[0]

    assert first == Patch(COPY, "3", {"mapRoles": ADMIN, "x": None}, {SOURCE: "7", KEPT: None})


def test_a_further_entry_leaves_the_copy_alone():
    found = live(ADMIN + text_of(NODES), annotations=marked(NODES))

    steps = decide(Seen(copy("5"), found), Put(USER), NOBODY).steps

    assert steps == (
        Patch(
            NAME,
            "7",
            {"mapUsers": text_of(USER)},
            marked(NODES, USER, spellings={"mapUsers": None}),
        ),
    )


def test_when_all_is_as_wanted_nothing_is_sent():
    found = live(ADMIN + text_of(NODES), annotations=marked(NODES))

    assert decide(Seen(copy(KEPT="true"), found), Put(NODES), NOBODY).steps == (
        Patch(COPY, "3", {}, {KEPT: "true"}),
    )
    settled = Object("3", {}, {SOURCE: "5", KEPT: "true"})
    assert decide(Seen(settled, found), Put(NODES), NOBODY).steps == ()


def test_a_mark_that_somebody_dropped_is_written_again_on_update():
    found = live(ADMIN + text_of(NODES))
    settled = Object("3", {"mapRoles": ADMIN}, {SOURCE: "5", KEPT: "true"})

    steps = decide(Seen(settled, found), Put(NODES, was=NODES), NOBODY).steps

    assert steps == (Patch(NAME, "7", {"mapRoles": found.data["mapRoles"]}, marked(NODES)),)


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", '{"entries": 5}', '{"entries": [], "spellings": [1]}']
)
def test_a_mark_that_somebody_broke_counts_as_none(broken):
    assert mark_of(live(annotations={MARK: broken})) == Mark()


def test_how_an_empty_list_was_spelled_comes_back_with_the_last_entry():
    for spelling in ("``", '""', "null", "[]\n", "# nobody yet"):
        put = decide(Seen(None, live(spelling)), Put(NODES), NOBODY).steps[-1]
        assert isinstance(put, Patch)
        after = Object("8", {"mapRoles": put.data["mapRoles"]}, put.annotations)

        gone = decide(Seen(copy(), after), Remove(NODES), NOBODY).steps

        assert gone == (
            Patch(NAME, "8", {"mapRoles": spelling}, {MARK: None}),
            Delete(COPY, "3"),
        ), spelling


def test_a_list_that_others_emptied_keeps_what_they_left():
    mark = marked(NODES, spellings={"mapRoles": None})
    found = live("# ours now\n" + text_of(NODES), annotations=mark)

    patch = decide(Seen(None, found), Remove(NODES), NOBODY).steps[0]

    assert patch == Patch(NAME, "7", {"mapRoles": "# ours now\n"}, {MARK: None})


def test_a_map_that_we_made_goes_only_when_nothing_else_is_in_it():
    made = marked(NODES, made=True, spellings={"mapRoles": None})
    alone = live(text_of(NODES), annotations=made)

    assert decide(Seen(None, alone), Remove(NODES), NOBODY).steps == (Delete(NAME, "7"),)
    for more in ({"mapAccounts": "[]"}, {"mapUsers": "# theirs"}):
        shared = live(text_of(NODES), annotations=made, **more)
        step = decide(Seen(None, shared), Remove(NODES), NOBODY).steps[0]
        assert step == Patch(NAME, "7", {"mapRoles": None}, {MARK: None}), more
    binary = Object("7", {"mapRoles": text_of(NODES)}, made, binary=True)
    assert isinstance(decide(Seen(None, binary), Remove(NODES), NOBODY).steps[0], Patch)
    mixed = live(ADMIN + text_of(NODES), annotations=made)
    assert isinstance(decide(Seen(None, mixed), Remove(NODES), NOBODY).steps[0], Patch)


def test_the_last_masters_of_a_map_that_we_made_may_go_with_it():
    made = marked(USER, made=True, spellings={"mapUsers": None})
    alone = Object("7", {"mapUsers": text_of(USER)}, made)

    assert decide(Seen(None, alone), Remove(USER), NOBODY).steps == (Delete(NAME, "7"),)


def refusal(seen, order, caller=NOBODY, overrides=()):
    with pytest.raises(RefusedError) as caught:
        decide(seen, order, caller, overrides)
    return str(caught.value)


HOW = (
    ". If this is meant, allow it: access.overrideGuards: [{0}] in the configuration for "
    "`pulumi up`, CASTAI_ACCESS_OVERRIDE={0} in the environment for `pulumi destroy`"
)


def test_each_guard_says_what_would_be_lost_and_how_to_allow_it():
    ours = Object("7", {"mapUsers": text_of(USER)}, marked(USER))
    seen = Seen(copy(), ours)

    assert refusal(seen, Remove(USER), Caller(USER.arn)) == (
        f"kube-system/aws-auth is left as it is: the mapping of {USER.arn}, which is who runs this, "
        "would vanish; the last mapping to system:masters would vanish, and after that only the "
        "cluster's creator (whom EKS lets in without a mapping) and access entries get in"
        + HOW.format("caller, last-masters").replace("=caller, last", "=caller,last")
    )
    assert decide(seen, Remove(USER), Caller(USER.arn), ("caller", "last-masters")).steps
    assert "change" in refusal(
        seen, Put(access_entries.user(USER.arn, "x", ["y"]), was=USER), Caller(USER.arn)
    )
    big = live("# " + "x" * (LIMIT - 50) + "\n")
    assert refusal(Seen(None, big), Put(NODES)) == (
        "kube-system/aws-auth is left as it is: its values would take "
        f"{LIMIT - 47 + len(text_of(NODES))} bytes, and a ConfigMap holds 1048576; remove entries"
        + HOW.format("size")
    )
    assert decide(Seen(None, big), Put(NODES), NOBODY, ("size",)).steps
    assert refusal(Seen(None, live("a: b")), Put(NODES)) == (
        "kube-system/aws-auth is left as it is: kube-system/aws-auth: mapRoles must be a list of "
        "mappings, found a mapping" + HOW.format("unreadable")
    )


def test_an_unreadable_list_is_set_aside_on_demand_and_left_alone_on_removal():
    put = decide(Seen(None, live("a: b")), Put(NODES), NOBODY, ("unreadable",))
    assert put.steps[0] == Create(COPY, {"mapRoles": "a: b"}, {SOURCE: "7"})
    assert put.steps[1].data == {"mapRoles": text_of(NODES)}
    assert "kept in kube-system/castai-aws-auth-backup" in put.warnings[0]

    broken = live("a: b", annotations=marked(NODES))
    gone = decide(Seen(None, broken), Remove(NODES), NOBODY, ("unreadable",))
    assert gone.steps == (Patch(NAME, "7", {}, {MARK: None}),)
    assert "it is left as it is" in gone.warnings[0]


def test_items_that_are_no_mappings_stay_when_they_are_allowed():
    found = live(f"- stray\n{ADMIN}")

    assert "its item 1 is none; correct that item by hand" in refusal(Seen(None, found), Put(NODES))
    patch = decide(Seen(None, found), Put(NODES), NOBODY, ("unreadable",)).steps[-1]
    assert patch.data == {"mapRoles": f"- stray\n{ADMIN}{text_of(NODES)}"}


def test_the_other_list_may_be_unreadable():
    found = live(mapUsers="a: b")

    patch = decide(Seen(None, found), Put(NODES), NOBODY).steps[-1]

    assert patch.data == {"mapRoles": ADMIN + text_of(NODES)}


def test_good_items_beside_a_bad_one_count_as_they_do_for_the_authenticator():
    users = f"- stray\n- {{userarn: arn:aws:iam::{ACCOUNT}:user/ana, groups: [{MASTERS}]}}\n"
    ours = access_entries.role(NODES.arn, "x", [MASTERS])
    found = Object("7", {"mapRoles": text_of(ours), "mapUsers": users}, marked(ours))

    assert decide(Seen(None, found), Remove(ours), NOBODY).steps, "ana is left"


def test_a_lost_map_is_told_and_the_copy_stays():
    for order in (Put(NODES), Remove(NODES)):
        decision = decide(Seen(copy(), None), order, NOBODY)
        assert "restore` puts back the values" in decision.warnings[0]
        assert not [s for s in decision.steps if s.name == COPY], "it is all that is left"


def test_an_entry_that_is_gone_already_takes_only_its_mark_along():
    found = live(annotations=marked(NODES, USER))

    assert decide(Seen(copy(), found), Remove(NODES), NOBODY).steps == (
        Patch(NAME, "7", {}, marked(USER)),
    )
    assert decide(Seen(None, live()), Remove(NODES), NOBODY).steps == ()


def test_what_is_there_is_told_as_wanted_or_as_it_is():
    start = f"- {{RoleARN: {NODES.arn.upper()}, username: '{NODE_USERNAME}'"
    same = start + ", groups: [system:nodes, system:bootstrappers]}"
    changed = start + ", groups: [x], userid: 007, sso: {a: [1]}}"

    assert live_entries(live(same), NODES) == [NODES.as_item()]
    assert live_entries(live(changed), NODES) == [
        {
            "groups": ["x"],
            "rolearn": NODES.arn.upper(),
            "sso": {"a": ["1"]},
            "userid": "007",
            "username": NODE_USERNAME,
        }
    ]
    assert live_entries(live(), NODES) is None
    assert live_entries(None, NODES) is None
    assert live_entries(live("a: b"), NODES) == [
        {"unreadable": "kube-system/aws-auth: mapRoles must be a list of mappings, found a mapping"}
    ]


def told(procedure, answers):
    """Drive a procedure with a function of its requests; returns what came of it."""
    answer = None
    while True:
        try:
            answer = answers(procedure.send(answer))
        except StopIteration as finished:
            return finished.value


def test_a_refusal_after_a_lost_race_takes_its_own_copy_back():
    """We kept a copy, lost the write, and then somebody made an entry for our ARN."""
    maps = iter([live(), Object("8", {"mapRoles": f"- {{rolearn: {NODES.arn}}}"}, {})])
    copies = iter([None, copy()])
    sent = []

    def answers(request):
        if isinstance(request, Read):
            return next(copies if request.name == COPY else maps)
        if isinstance(request, Send):
            sent.append(request)
            return request.dry or request.step.name == COPY
        return NOBODY if isinstance(request, AskCaller) else None

    with pytest.raises(RefusedError, match="already maps"):
        told(carry_out(Put(NODES), ()), answers)

    assert sent[-1] == Send(Delete(COPY, "3"))


def test_the_dry_run_comes_before_the_copy():
    def answers(request):
        if isinstance(request, Read):
            return None if request.name == COPY else live()
        return NOBODY if isinstance(request, AskCaller) else False

    requests = []

    def recorded(request):
        requests.append(request)
        return answers(request)

    with pytest.raises(ConflictError):
        told(carry_out(Put(NODES), (), attempts=2), recorded)

    assert [(r.step.name, r.dry) for r in requests if isinstance(r, Send)] == [(NAME, True)] * 2
    assert [r for r in requests if isinstance(r, Wait)] == [Wait(1)]


def test_restoring_replaces_every_value_and_takes_the_mark_and_the_copy():
    found = live("[]", annotations=marked(NODES), mapUsers="x")

    assert restored(Seen(copy(), found), NOBODY).steps == (
        Patch(NAME, "7", {"mapRoles": ADMIN, "mapUsers": None}, {MARK: None}),
        Delete(COPY, "3"),
    )
    assert restored(Seen(copy(), None), NOBODY).steps[0] == Create(NAME, {"mapRoles": ADMIN}, {})


def test_the_mark_is_plain_json_that_a_person_can_read():
    text = Mark((NODES.identity,), made=True, spellings={"mapRoles": None}).as_text()

    assert json.loads(text) == {
        "entries": [f"role arn:aws:iam::{ACCOUNT}:role/cast-nodes"],
        "made": True,
        "spellings": {"mapRoles": None},
    }


def test_the_narrower_role_reads_no_secret_and_writes_no_more_than_nodes_and_their_pods():
    writes = {
        (resource, verb)
        for rule in rbac.RULES
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if verb not in ("get", "list", "watch")
    }
    resources = {resource for rule in rbac.RULES for resource in rule["resources"]}

    assert writes == {
        ("nodes", "patch"),
        ("nodes", "update"),
        ("nodes", "delete"),
        ("pods", "delete"),
        ("pods/eviction", "create"),
    }
    assert not resources & {"secrets", "configmaps", "*", "pods/exec", "nodes/proxy"}
    assert not [rule for rule in rbac.RULES if "*" in rule["apiGroups"] + rule["verbs"]]
