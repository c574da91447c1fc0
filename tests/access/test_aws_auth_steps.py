import json
from dataclasses import replace

import pytest

from castai_stack.access import entries as access_entries
from castai_stack.access import rbac
from castai_stack.access import text as access_text
from castai_stack.access.entries import (
    LIMIT,
    MASTERS,
    NAME,
    NODE_GROUPS,
    NODE_USERNAME,
    AwsAuthError,
)
from castai_stack.access.guards import Caller
from castai_stack.access.map_copy import restored
from castai_stack.access.protocol import (
    CONFIRMED_ANNOTATION,
    COPY,
    ENTRIES_ANNOTATION,
    SOURCE_ANNOTATION,
    AskCaller,
    ConflictError,
    Create,
    Delete,
    EnsureEntry,
    OwnedEntries,
    Patch,
    Read,
    RefusedError,
    RemoveEntry,
    Send,
    Snapshot,
    Snapshots,
    Wait,
    owned_entries,
)
from castai_stack.access.reader import parse
from castai_stack.access.steps import carry_out, decide, live_entries, moved_entry, obstacles

ACCOUNT = "012345678901"
NODES = access_entries.role(f"arn:aws:iam::{ACCOUNT}:role/cast-nodes", NODE_USERNAME, NODE_GROUPS)
USER = access_entries.user(f"arn:aws:iam::{ACCOUNT}:user/cast-eks-demo", "cast-eks-demo", [MASTERS])
ADMIN = f"- {{rolearn: arn:aws:iam::{ACCOUNT}:role/admin, username: admin, groups: [{MASTERS}]}}\n"
NOBODY = Caller("")


def text_of(*entries):
    """A list that holds these entries of ours and nothing else."""
    text = ""
    for entry in entries:
        text = access_text.merged(parse(entry.kind, text), entry).text
    return text


def marked(*entries, **more):
    return {
        ENTRIES_ANNOTATION: OwnedEntries(tuple(e.identity for e in entries), **more).as_annotation()
    }


def live(roles=ADMIN, *, annotations=None, **data):
    return Snapshot("7", {"mapRoles": roles, **data}, annotations or {})


def copy(source="7", **annotations):
    return Snapshot("3", {"mapRoles": ADMIN}, {SOURCE_ANNOTATION: source, **annotations})


def test_a_first_entry_saves_the_map_and_writes_one_list_and_the_annotation():
    result = live(mapAccounts="- '9'")

    steps = decide(Snapshots(None, result), EnsureEntry(NODES), NOBODY).steps

    assert steps == (
        Create(COPY, result.data, {SOURCE_ANNOTATION: "7"}),
        Patch(NAME, "7", {"mapRoles": ADMIN + text_of(NODES)}, marked(NODES)),
    )


def test_a_copy_of_another_time_is_replaced_and_keys_that_are_gone_go():
    old = Snapshot(
        "3", {"mapRoles": "old", "x": "y"}, {SOURCE_ANNOTATION: "2", CONFIRMED_ANNOTATION: "true"}
    )

    first = decide(Snapshots(old, live()), EnsureEntry(NODES), NOBODY).steps[0]

    assert first == Patch(
        COPY,
        "3",
        {"mapRoles": ADMIN, "x": None},
        {SOURCE_ANNOTATION: "7", CONFIRMED_ANNOTATION: None},
    )


def test_a_further_entry_leaves_the_copy_alone():
    result = live(ADMIN + text_of(NODES), annotations=marked(NODES))

    steps = decide(Snapshots(copy("5"), result), EnsureEntry(USER), NOBODY).steps

    assert steps == (
        Patch(
            NAME,
            "7",
            {"mapUsers": text_of(USER)},
            marked(NODES, USER, spellings={"mapUsers": None}),
        ),
    )


def test_a_map_as_ordered_needs_no_request():
    result = live(ADMIN + text_of(NODES), annotations=marked(NODES))

    assert decide(
        Snapshots(copy(CONFIRMED_ANNOTATION="true"), result), EnsureEntry(NODES), NOBODY
    ).steps == (Patch(COPY, "3", {}, {CONFIRMED_ANNOTATION: "true"}),)
    settled = Snapshot("3", {}, {SOURCE_ANNOTATION: "5", CONFIRMED_ANNOTATION: "true"})
    assert decide(Snapshots(settled, result), EnsureEntry(NODES), NOBODY).steps == ()


def test_a_dropped_annotation_is_written_again_by_an_update():
    result = live(ADMIN + text_of(NODES))
    settled = Snapshot(
        "3", {"mapRoles": ADMIN}, {SOURCE_ANNOTATION: "5", CONFIRMED_ANNOTATION: "true"}
    )

    steps = decide(Snapshots(settled, result), EnsureEntry(NODES, previous=NODES), NOBODY).steps

    assert steps == (Patch(NAME, "7", {"mapRoles": result.data["mapRoles"]}, marked(NODES)),)


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", '{"entries": 5}', '{"entries": [], "spellings": [1]}']
)
def test_an_invalid_annotation_counts_as_none(broken):
    assert owned_entries(live(annotations={ENTRIES_ANNOTATION: broken})) == OwnedEntries()


def test_how_an_empty_list_was_spelled_comes_back_with_the_last_entry():
    for spelling in ("``", '""', "null", "[]\n", "# nobody yet"):
        put = decide(Snapshots(None, live(spelling)), EnsureEntry(NODES), NOBODY).steps[-1]
        assert isinstance(put, Patch)
        after = Snapshot("8", {"mapRoles": put.data["mapRoles"]}, put.annotations)

        removal = decide(Snapshots(copy(), after), RemoveEntry(NODES), NOBODY).steps

        assert removal == (
            Patch(NAME, "8", {"mapRoles": spelling}, {ENTRIES_ANNOTATION: None}),
            Delete(COPY, "3"),
        ), spelling


def test_a_list_that_others_emptied_keeps_what_they_left():
    mark = marked(NODES, spellings={"mapRoles": None})
    result = live("# ours now\n" + text_of(NODES), annotations=mark)

    patch = decide(Snapshots(None, result), RemoveEntry(NODES), NOBODY).steps[0]

    assert patch == Patch(NAME, "7", {"mapRoles": "# ours now\n"}, {ENTRIES_ANNOTATION: None})


def test_a_map_of_the_program_is_deleted_only_when_it_is_empty():
    result = marked(NODES, created_map=True, spellings={"mapRoles": None})
    alone = live(text_of(NODES), annotations=result)

    assert decide(Snapshots(None, alone), RemoveEntry(NODES), NOBODY).steps == (Delete(NAME, "7"),)
    for more in ({"mapAccounts": "[]"}, {"mapUsers": "# theirs"}):
        shared = live(text_of(NODES), annotations=result, **more)
        step = decide(Snapshots(None, shared), RemoveEntry(NODES), NOBODY).steps[0]
        assert step == Patch(NAME, "7", {"mapRoles": None}, {ENTRIES_ANNOTATION: None}), more
    binary = Snapshot("7", {"mapRoles": text_of(NODES)}, result, binary=True)
    assert isinstance(decide(Snapshots(None, binary), RemoveEntry(NODES), NOBODY).steps[0], Patch)
    mixed = live(ADMIN + text_of(NODES), annotations=result)
    assert isinstance(decide(Snapshots(None, mixed), RemoveEntry(NODES), NOBODY).steps[0], Patch)


def test_the_last_masters_of_a_map_of_the_program_may_be_removed():
    result = marked(USER, created_map=True, spellings={"mapUsers": None})
    alone = Snapshot("7", {"mapUsers": text_of(USER)}, result)

    assert decide(Snapshots(None, alone), RemoveEntry(USER), NOBODY).steps == (Delete(NAME, "7"),)


def refusal(snapshots, order, caller=NOBODY, overrides=()):
    with pytest.raises(RefusedError) as caught:
        decide(snapshots, order, caller, overrides)
    return str(caught.value)


HOW = (
    ". To allow this, name the guards: access.overrideGuards: [{0}] in the configuration for "
    "`pulumi up`, CASTAI_ACCESS_OVERRIDE={0} in the environment for `pulumi destroy`"
)


def test_each_guard_names_the_loss_and_the_override():
    ours = Snapshot("7", {"mapUsers": text_of(USER)}, marked(USER))
    snapshots = Snapshots(copy(), ours)

    assert refusal(snapshots, RemoveEntry(USER), Caller(USER.arn)) == (
        f"kube-system/aws-auth is left as it is: the mapping of {USER.arn}, which runs this program, "
        "would vanish; the last mapping to system:masters would vanish, and after that only the "
        "cluster's creator (admitted by EKS without a mapping) and access entries get in"
        + HOW.format("caller, last-masters").replace("=caller, last", "=caller,last")
    )
    assert decide(snapshots, RemoveEntry(USER), Caller(USER.arn), ("caller", "last-masters")).steps
    assert "change" in refusal(
        snapshots,
        EnsureEntry(access_entries.user(USER.arn, "x", ["y"]), previous=USER),
        Caller(USER.arn),
    )
    big = live("# " + "x" * (LIMIT - 50) + "\n")
    assert refusal(Snapshots(None, big), EnsureEntry(NODES)) == (
        "kube-system/aws-auth is left as it is: its values would take "
        f"{LIMIT - 47 + len(text_of(NODES))} bytes, and a ConfigMap holds 1048576; remove entries"
        + HOW.format("size")
    )
    assert decide(Snapshots(None, big), EnsureEntry(NODES), NOBODY, ("size",)).steps
    assert refusal(Snapshots(None, live("a: b")), EnsureEntry(NODES)) == (
        "kube-system/aws-auth is left as it is: kube-system/aws-auth: mapRoles must be a list of "
        "mappings, found a mapping" + HOW.format("unreadable")
    )


def test_an_unreadable_list_is_set_aside_on_demand_and_left_alone_on_removal():
    put = decide(Snapshots(None, live("a: b")), EnsureEntry(NODES), NOBODY, ("unreadable",))
    assert put.steps[0] == Create(COPY, {"mapRoles": "a: b"}, {SOURCE_ANNOTATION: "7"})
    assert put.steps[1].data == {"mapRoles": text_of(NODES)}
    assert "saved in kube-system/castai-aws-auth-backup" in put.warnings[0]

    broken = live("a: b", annotations=marked(NODES))
    removal = decide(Snapshots(None, broken), RemoveEntry(NODES), NOBODY, ("unreadable",))
    assert removal.steps == (Patch(NAME, "7", {}, {ENTRIES_ANNOTATION: None}),)
    assert "the list stays as it is" in removal.warnings[0]


def test_items_that_are_no_mappings_stay_when_they_are_allowed():
    result = live(f"- stray\n{ADMIN}")

    assert "its item 1 is none; correct that item by hand" in refusal(
        Snapshots(None, result), EnsureEntry(NODES)
    )
    patch = decide(Snapshots(None, result), EnsureEntry(NODES), NOBODY, ("unreadable",)).steps[-1]
    assert patch.data == {"mapRoles": f"- stray\n{ADMIN}{text_of(NODES)}"}


# Lists that the authenticator drops whole, and what a refusal says of each.
DROPPED = {
    "text in braces": ("  username: {{SessionName}}", "a mapping cannot be a key"),
    "a key that is a list": ("  ? [a, b]\n  : c", "a list cannot be a key"),
    "a merge of text": ("  <<: text", "`<<` needs a mapping"),
    "an infinite number": ("  x: .inf", "JSON cannot hold"),
    "a question mark in brackets": ("  groups: [http://x?y]", "needs quotes"),
    "a tag that does not fit": ("  x: !!int y", "'y' is no int"),
    "an indentation that breaks off": ("    username: jane", "mapping values are not allowed"),
}


@pytest.mark.parametrize(("line", "reason"), DROPPED.values(), ids=DROPPED)
@pytest.mark.parametrize("entry", [NODES, USER])
def test_a_list_that_the_authenticator_drops_is_refused_with_its_line(entry, line, reason):
    field = "rolearn" if entry is NODES else "userarn"
    broken = live(**{entry.key: f"- {field}: arn:aws:iam::{ACCOUNT}:{entry.kind}/jane\n{line}\n"})

    message = refusal(Snapshots(None, broken), EnsureEntry(entry))

    assert reason in message
    assert "line 2" in message
    assert HOW.format("unreadable") in message
    [live_entry] = live_entries(broken, entry)
    assert reason in live_entry["unreadable"]


READ = {
    "a list at an odd indentation": f"  {ADMIN}- rolearn: b\n",
    "a second document": f"{ADMIN}---\n- rolearn: b\n",
    "an end and text": f"{ADMIN}...\nx: y\n",
    "deep nesting": f"{ADMIN}- {{rolearn: b, x: {'[' * 90}{']' * 90}}}\n",
    "an anchor that is set twice": f"{ADMIN}- &a {{x: y}}\n- &a {{x: y}}\n",
}


@pytest.mark.parametrize("roles", READ.values(), ids=READ)
def test_an_override_never_drops_a_mapping_that_the_authenticator_reads(roles):
    """The override replaces a list of which the authenticator reads nothing, and no other."""
    admin = Caller(f"arn:aws:iam::{ACCOUNT}:role/admin")

    def ordered():
        order = EnsureEntry(NODES)
        return decide(Snapshots(None, live(roles)), order, admin, ("unreadable",))

    if "[[" in roles:
        with pytest.raises(
            AwsAuthError, match="edited here; add or remove the program's entry by hand"
        ):
            ordered()
        return
    patch = ordered().steps[-1]

    grants = parse("role", patch.data["mapRoles"]).grants
    assert grants[admin.arn].groups == (MASTERS,)
    assert NODES.arn.lower() in grants


@pytest.mark.parametrize("roles", READ.values(), ids=READ)
def test_guards_judge_the_mappings_of_a_list_with_an_odd_layout(roles):
    """The admin of the odd list is the last master but ours, so ours may go, and not the admin."""
    ours = access_entries.user(USER.arn, "x", [MASTERS])
    result = live(roles, annotations=marked(ours), mapUsers=text_of(ours))

    assert decide(Snapshots(None, result), RemoveEntry(ours), NOBODY).steps
    replaced = Snapshots(Snapshot("3", {"mapRoles": "[]"}), result)
    with pytest.raises(RefusedError, match="last mapping to system:masters"):
        restored(replaced, NOBODY)


def test_a_spelling_that_only_the_authenticator_reads_is_not_overridden():
    result = live(f'{ADMIN}- {{rolearn: b, username: "\\\'"}}\n')

    with pytest.raises(AwsAuthError, match="the authenticator may read this"):
        decide(Snapshots(None, result), EnsureEntry(NODES), NOBODY, ("unreadable",))


def test_a_master_that_never_matches_does_not_count_for_last_masters():
    dead = "role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0a1b2c3d4e5f6a7b"
    result = live(
        f"- {{rolearn: arn:aws:iam::{ACCOUNT}:{dead}, username: admin, groups: [{MASTERS}]}}\n",
        annotations=marked(USER),
        mapUsers=text_of(USER),
    )

    assert "last mapping to system:masters" in refusal(Snapshots(None, result), RemoveEntry(USER))


def test_a_role_entry_for_the_user_is_a_warning():
    roles = f"- {{rolearn: '{USER.arn.upper()}', username: x, groups: [y]}}\n"
    shadowed = decide(Snapshots(None, live(roles)), EnsureEntry(USER), NOBODY)

    assert shadowed.steps
    assert shadowed.warnings == (
        f"kube-system/aws-auth: mapRoles maps {USER.arn}, and the authenticator reads mapRoles "
        "first: the program's entry in mapUsers has no effect until that one is removed",
    )
    assert not decide(Snapshots(None, live()), EnsureEntry(USER), NOBODY).warnings
    other = live(f"- {{rolearn: {USER.arn}, sso: {{}}}}\n")
    assert not decide(Snapshots(None, other), EnsureEntry(USER), NOBODY).warnings


def found_obstacles(result, *entries, overrides=(), adopt=False, **remaining):
    copied = copy(**remaining) if remaining else None
    return obstacles(Snapshots(copied, result), entries, NOBODY, overrides, adopt=adopt)


def test_obstacles_are_what_an_update_would_refuse():
    broken = "- userarn: a\n    username: jane\n"

    assert found_obstacles(live(), NODES, USER) == []
    assert found_obstacles(None, NODES, USER) == []
    [reason] = found_obstacles(live(mapUsers=broken), NODES, USER)
    assert "mapUsers is neither YAML nor JSON, line 2" in reason
    assert found_obstacles(live(mapUsers=broken), USER, overrides=("unreadable",)) == []
    assert len(found_obstacles(live("{", mapUsers=broken), NODES, USER)) == 2
    assert len(found_obstacles(live("{"), NODES, NODES)) == 1
    [reason] = found_obstacles(live("# " + "x" * (LIMIT - 50) + "\n"), NODES)
    assert "a ConfigMap holds 1048576" in reason


def test_only_entries_of_other_writers_are_obstacles():
    foreign = live(mapUsers=f"- {{userarn: {USER.arn}, username: x}}\n")

    [reason] = found_obstacles(foreign, USER)
    assert "already maps" in reason
    assert found_obstacles(foreign, USER, adopt=True) == []
    assert found_obstacles(foreign, USER, CONFIRMED="true") == [], "the annotation was dropped"
    ours = live(annotations=marked(USER), mapUsers=text_of(USER))
    assert found_obstacles(ours, USER) == []


def test_the_other_list_may_be_unreadable():
    result = live(mapUsers="a: b")

    patch = decide(Snapshots(None, result), EnsureEntry(NODES), NOBODY).steps[-1]

    assert patch.data == {"mapRoles": ADMIN + text_of(NODES)}


def test_good_items_beside_a_bad_one_count_as_they_do_for_the_authenticator():
    users = f"- stray\n- {{userarn: arn:aws:iam::{ACCOUNT}:user/ana, groups: [{MASTERS}]}}\n"
    ours = access_entries.role(NODES.arn, "x", [MASTERS])
    result = Snapshot("7", {"mapRoles": text_of(ours), "mapUsers": users}, marked(ours))

    assert decide(Snapshots(None, result), RemoveEntry(ours), NOBODY).steps, "ana is left"


def test_a_lost_map_is_a_warning_and_the_copy_stays():
    for order in (EnsureEntry(NODES), RemoveEntry(NODES)):
        decision = decide(Snapshots(copy(), None), order, NOBODY)
        assert "restore` writes back the values" in decision.warnings[0]
        assert not [s for s in decision.steps if s.name == COPY], "it is all that is left"


def test_the_removal_of_an_absent_entry_changes_only_the_annotation():
    result = live(annotations=marked(NODES, USER))

    assert decide(Snapshots(copy(), result), RemoveEntry(NODES), NOBODY).steps == (
        Patch(NAME, "7", {}, marked(USER)),
    )
    assert decide(Snapshots(None, live()), RemoveEntry(NODES), NOBODY).steps == ()


def test_live_items_are_returned_as_ordered_or_as_they_are():
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


def drive(procedure, answers):
    """Drive a procedure with a function of its requests; returns what came of it."""
    answer = None
    while True:
        try:
            answer = answers(procedure.send(answer))
        except StopIteration as finished:
            return finished.value


def test_a_refusal_after_a_conflict_deletes_the_new_copy():
    """We kept a copy, lost the write, and then somebody made an entry for our ARN."""
    maps = iter([live(), Snapshot("8", {"mapRoles": f"- {{rolearn: {NODES.arn}}}"}, {})])
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
        drive(carry_out(EnsureEntry(NODES), ()), answers)

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
        drive(carry_out(EnsureEntry(NODES), (), attempts=2), recorded)

    assert [(r.step.name, r.dry) for r in requests if isinstance(r, Send)] == [(NAME, True)] * 2
    assert [r for r in requests if isinstance(r, Wait)] == [Wait(1)]


def test_a_restore_replaces_every_value_and_removes_annotation_and_copy():
    result = live("[]", annotations=marked(NODES), mapUsers="x")

    assert restored(Snapshots(copy(), result), NOBODY).steps == (
        Patch(NAME, "7", {"mapRoles": ADMIN, "mapUsers": None}, {ENTRIES_ANNOTATION: None}),
        Delete(COPY, "3"),
    )
    assert restored(Snapshots(copy(), None), NOBODY).steps[0] == Create(
        NAME, {"mapRoles": ADMIN}, {}
    )


def test_the_annotation_is_plain_json():
    text = OwnedEntries(
        (NODES.identity,), created_map=True, spellings={"mapRoles": None}
    ).as_annotation()

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


MOVED = replace(USER, arn=f"arn:aws:iam::{ACCOUNT}:user/team/cast-eks-demo")
THIRD = replace(USER, arn=f"arn:aws:iam::{ACCOUNT}:user/other/cast-eks-demo")


@pytest.mark.parametrize(
    ("in_map", "owned", "moved"),
    [
        ([MOVED], [MOVED], MOVED),
        ([MOVED], [], None),
        ([MOVED, THIRD], [MOVED, THIRD], None),
        ([MOVED, THIRD], [MOVED], MOVED),
        ([replace(MOVED, groups=("other",))], [MOVED], None),
        ([], [MOVED], None),
        ([USER], [USER], None),
    ],
    ids=["moved", "foreign", "two", "one of two", "other groups", "gone", "in place"],
)
def test_an_entry_that_a_killed_run_moved_is_recognized(in_map, owned, moved):
    snapshot = live(mapUsers=text_of(*in_map), annotations=marked(*owned))

    assert moved_entry(snapshot, USER) == moved


def test_no_entry_is_recognized_in_a_map_that_is_absent_or_unreadable():
    assert moved_entry(None, USER) is None
    assert moved_entry(live(mapUsers="- {", annotations=marked(MOVED)), USER) is None
