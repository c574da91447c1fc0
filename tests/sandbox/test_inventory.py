from sandbox.inventory import Difference, differences


def test_what_appeared_disappeared_or_changed_is_named():
    before = {"Role": {"kept": {"a": 1}, "gone": {}, "edited": {"a": 1}}}
    after = {"Role": {"kept": {"a": 1}, "edited": {"a": 2}}, "Queue": {"new": {}}}

    assert differences(before, after) == [
        Difference("Queue", "new", "appeared"),
        Difference("Role", "edited", "changed"),
        Difference("Role", "gone", "disappeared"),
    ]
    assert str(Difference("Role", "gone", "disappeared")) == "Role gone disappeared"


def test_the_same_is_no_difference():
    assert differences({"Role": {"x": {}}}, {"Role": {"x": {}}, "Queue": {}}) == []
