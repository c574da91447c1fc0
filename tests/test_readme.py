from tests.support import readme


def test_the_table_holds_every_key_of_today():
    text = readme.README.read_text()

    assert readme.rendered(text) == text, "run `make readme`"


def test_the_operators_documents_are_those_that_the_preflight_asks_for():
    assert readme.OPERATOR.read_text() == readme.operator_document(), "run `make readme`"


def test_the_commands_and_their_exit_statuses_are_those_of_today():
    text = readme.COMMANDS.read_text()

    assert readme.commands_rendered(text) == text, "run `make readme`"
