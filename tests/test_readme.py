from tests.support import readme


def test_the_configuration_page_holds_every_key_of_today():
    assert readme.CONFIGURATION.read_text() == readme.configuration_document(), "run `make readme`"


def test_the_readme_links_the_configuration_page():
    assert "(docs/configuration.md)" in readme.README.read_text()


def test_the_operators_documents_are_those_that_the_preflight_asks_for():
    assert readme.OPERATOR.read_text() == readme.operator_document(), "run `make readme`"


def test_the_commands_and_their_exit_statuses_are_those_of_today():
    text = readme.COMMANDS.read_text()

    assert readme.commands_rendered(text) == text, "run `make readme`"
