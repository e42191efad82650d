"""The magics: in a shell of this process, in a real kernel, in IPython in a terminal; the embedded server."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from types import ModuleType

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import bedrock_nb as nb
from bedrock_nb.errors import AccessDeniedError, IncompleteStreamError, RequestError
from bedrock_nb.magics.filling import fill
from bedrock_nb.server import INSTANT, BedrockServer

# -- braces ----------------------------------------------------------------------------------------

_NAMES = {"city": "Rome", "names": ["a", "b"], "pi": 3.14159, "d": {"k": 1}, "n": 2, "a": 5}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("Tell me of {city}.", "Tell me of Rome."),
        ("{ city.upper() }{n+1}", "ROME3"),
        ("{', '.join(names)}", "a, b"),
        ("{d['k']} {names[1:]} {city!r}", "1 ['b'] 'Rome'"),
        ("{pi:.2f}, {n:>3}", "3.14,   2"),
        ("{n != 3} { {k: v for k, v in d.items()} }", "True {'k': 1}"),
        ("{{city}} is {city}", "{city} is Rome"),
        ("{{{city}}}", "{Rome}"),
        ('{"a": {"b": [1, {}]}}', '{"a": {"b": [1, {}]}}'),
        ('{"a":{"b":"{city}"}}', '{"a":{"b":"Rome"}}'),
        (r"\d{4}, x^{2}, {1, 2}, {}, {...}", r"\d{4}, x^{2}, {1, 2}, {}, {...}"),
        ("a {color: red} {a:10, b:2} {return a}", "a {color: red} {a:10, b:2} {return a}"),
        ("if (x) {\n  city\n}", "if (x) {\n  city\n}"),
        ("a } b { c", "a } b { c"),
        ("It costs $5, $city", "It costs $5, $city"),
    ],
)
def test_only_an_expression_with_a_name_in_it_is_a_field(text, filled):
    """JSON, sets, LaTeX and CSS stay as they stand, and what is a field inside of them is filled in."""
    assert fill(text, _NAMES) == filled


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab \"'\\", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3),
)


@given(_JSON, st.sampled_from([None, (",", ":")]))
def test_any_json_stays_as_it_is(value, separators):
    """However it is written, with spaces or without."""
    text = json.dumps(value, separators=separators)
    assert fill(text, {"a": 1, "b": 2}) == text


@given(st.text('{}a:!" \n', max_size=20))
def test_doubled_braces_keep_any_text(text):
    """Who doubles each brace gets his text."""
    assert fill(text.replace("{", "{{").replace("}", "}}"), {"a": 1}) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("of {citi}", r"{citi} in the text .* 'citi' is not defined\. Did you mean city\?"),
        ("{n / 0}", "{n / 0} in the text .* ZeroDivisionError"),
        ("{type}", "'type' is not defined"),
    ],
)
def test_a_field_that_fails_is_an_error(text, said):
    """A prompt with a slip in it is not sent, and the error tells of --raw and of doubled braces."""
    with pytest.raises(RequestError, match=said) as caught:
        fill(text, _NAMES)
    assert "--raw" in str(caught.value)
    assert "{{…}}" in str(caught.value)


# -- in a shell ------------------------------------------------------------------------------------


class Shell:
    """A shell of IPython in this process, which is not the one that `get_ipython` knows."""

    def __init__(self, folder):
        self.module = ModuleType("shell_of_a_test")
        config = Config(HistoryManager={"enabled": False})
        self.ip = InteractiveShell(config=config, ipython_dir=str(folder), user_module=self.module)
        self.names = self.ip.user_ns

    def run(self, cell):
        """What the cell printed, and the value of its last expression; its error is raised."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            done = self.ip.run_cell(cell)
        done.raise_error()
        return out.getvalue(), done.result

    def close(self):
        self.ip.restore_sys_module_state()
        sys.modules.pop(self.module.__name__, None)


@pytest.fixture(scope="module")
def server():
    """An embedded server whose answers come at once."""
    with BedrockServer(latency=INSTANT) as running:
        yield running


@pytest.fixture(scope="module")
def _shell(tmp_path_factory):
    shell = Shell(tmp_path_factory.mktemp("ipython"))
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def client(server):
    """Its client, made once."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def shell(_shell, client):
    """The shell with the extension and a client, and with nothing else of ours."""
    _shell.ip.run_line_magic("load_ext", "bedrock_nb")
    _shell.names["client"] = client
    yield _shell
    _shell.ip.run_line_magic("unload_ext", "bedrock_nb")
    for name in ("client", "reply", "talk", "other", "answer"):
        _shell.names.pop(name, None)


def test_a_cell_is_asked_with_its_options(shell):
    """Options are those of nb.stream, their values may be quoted and filled in; the reply has its name."""
    shell.names["model"] = "echo"
    printed, value = shell.run(
        '%%converse -m {model} --system "Be brief, \\"dear\\"." -t0 --max-tokens=50 --top-p 0.5 -v answer '
        '--param stop=["END"] --param idle_timeout=20 --param labels=\'{"run": 1}\'\n'
        "Say {2 + len(model)}, {{x}}\nand don't stop.\n"
    )
    reply = shell.names["answer"]
    assert printed.startswith("Say 6, {x}\nand don't stop.\n")
    assert value is None
    assert reply.text == "Say 6, {x}\nand don't stop."
    assert reply.recording.labels == {"run": 1}
    assert reply.recording.request == {
        "modelId": "embedded.echo-v1:0",
        "messages": [{"role": "user", "content": [{"text": "Say 6, {x}\nand don't stop."}]}],
        "system": [{"text": 'Be brief, "dear".'}],
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.0, "topP": 0.5, "stopSequences": ["END"]},
    }


def test_a_line_is_asked_as_it_stands(shell):
    """An apostrophe, a minus, options behind the prompt: all of it is the prompt."""
    for prompt in ("What's up -m?", "- a list", "-5 degrees", "Is it 5?"):
        shell.run(f"if True:\n    %converse -m echo {prompt}")
        assert shell.names["reply"].text == prompt
    shell.run("%converse -m echo -- --model is a word")
    assert shell.names["reply"].text == "--model is a word"


def test_raw_text_is_sent_as_it_is(shell):
    """With --raw no brace means anything."""
    shell.run("%%converse -r -m echo\n{client} {{nobody}} {")
    assert shell.names["reply"].text == "{client} {{nobody}} {"


def test_a_function_has_names_of_its_own(shell):
    """In a function its local variables are seen."""
    shell.run("def ask(town):\n    %converse -m echo Tell of {town}\n\nask('Bonn')")
    assert shell.names["reply"].text == "Tell of Bonn"


def test_the_timing_can_be_left_out_and_the_table_be_shown(shell):
    """The line of timing stands under the text unless --no-timing; the table is the value of the cell."""
    with_timing, _ = shell.run("%converse -m echo hello")
    without, table = shell.run("%converse -m echo --no-timing --table hello")
    assert "TTFT" in with_timing
    assert without.startswith("hello\nOut[")
    assert table.loc[0, "model"] == "embedded.echo-v1:0"


@pytest.mark.parametrize(
    ("cell", "error", "status"),
    [
        ("%converse -m canned@end:after=5 Count from 1 to 20", IncompleteStreamError, "incomplete"),
        ("%converse -m canned@refuse:status=403 Hello", AccessDeniedError, "error"),
        ("%%converse -m canned@refuse:status=403 --chat talk\nHello", AccessDeniedError, "error"),
    ],
)
def test_a_reply_that_failed_is_in_its_variable(shell, cell, error, status):
    """The error is that of nb.stream or of reading; what came is there; no chat begins with a refusal."""
    with pytest.raises(error):
        shell.run(cell)
    assert shell.names["reply"].status == status
    assert "talk" not in shell.names


def test_a_chat_goes_on(shell):
    """The first cell makes the conversation, with its options; the next goes on, its own for one turn."""
    shell.run("%%converse --chat talk -m echo -s Brief.\nHello")
    shell.run("%converse --chat talk --temperature 0 Again")
    talk = shell.names["talk"]
    assert isinstance(talk, nb.Conversation)
    assert [message.text for message in talk.messages] == ["Hello", "Hello", "Again", "Again"]
    assert talk.settings == {"model": "echo", "system": "Brief."}
    assert talk.recordings[1].request["inferenceConfig"] == {"temperature": 0.0}
    assert isinstance(shell.names["reply"], type(talk.turn))


def test_without_a_client_one_is_connected(shell, server, monkeypatch):
    """It says where, once; a variable that holds something else is left alone."""
    monkeypatch.setenv("BEDROCK_NB_TARGET", server.endpoint_url)
    shell.names["client"] = "mine"
    said, _ = shell.run("%converse -m echo --no-timing hello")
    again, _ = shell.run("%converse -m echo --no-timing hello")
    assert said == "Connected to the embedded Bedrock on this machine (no AWS account needed).\nhello\n"
    assert again == "hello\n"
    assert shell.names["client"] == "mine"


def test_a_client_has_a_name(shell):
    """--client asks that one."""
    shell.names["other"], shell.names["client"] = shell.names["client"], None
    assert shell.run("%converse --client other -m echo --no-timing hello")[0] == "hello\n"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%converse --modle x\nHello", "no option --modle. Did you mean --model?"),
        ("%converse --temp 0 Hello", "no option --temp. Did you mean --temperature?"),
        ("%converse -x", "%converse has no option -x"),
        ("%converse --model", "--model wants a value"),
        ("%converse --raw=1 Hello", "--raw takes no value"),
        ("%converse -t hot Hello", "invalid float value: 'hot'"),
        ("%converse -s Don't Hello", "A quote is not closed"),
        ("%converse -v 2b Hello", "--var is '2b'"),
        ("%converse -m echo", "nothing to ask yet: write the prompt behind %converse"),
        ("%%converse\n \n\n", "write the prompt below the line of %%converse"),
        ("%%converse Hello\nworld", "The prompt is written below the line of %%converse: Hello"),
        ("%converse --param stop Hello", "NAME=VALUE is wanted"),
        ("%converse --param client=1 Hello", "that is --client"),
        ("%converse -m echo --param model=x Hello", "model is given twice"),
        ("%converse --client clinet Hello", "no variable clinet. Did you mean client?"),
        ("%converse --chat Out Hello", "Out holds a dict and no Conversation"),
        ("%converse -m nova_lit Hello", "no model 'nova_lit'. Did you mean nova_lite"),
        ("%converse Hello {clinet}", "'clinet' is not defined. Did you mean client?"),
        ("%bedrock modles", "no %bedrock modles. Did you mean models?"),
        ("%bedrock models gork", "No model that streams has 'gork'"),
        ("%bedrock local models", "does not know what to do with models"),
        ("%bedrock --region eu-west-1", "belongs to a target, as in %bedrock aws --region"),
    ],
)
def test_a_wrong_line_is_told_in_one_sentence(shell, cell, said):
    """What is wrong with the line is a UsageError: no traceback, nothing sent, and what to write."""
    before = len(nb.recordings)
    with pytest.raises(UsageError) as caught:
        shell.run(cell)
    assert said in str(caught.value)
    assert len(nb.recordings) == before


def test_a_conversation_keeps_its_client(shell):
    """Another client for a conversation that has one would change nothing, so it is refused."""
    shell.run("%converse --chat talk -m echo Hello")
    with pytest.raises(UsageError, match="has its own client"):
        shell.run("%converse --chat talk --client client Hello")


@pytest.mark.parametrize(
    "cell", ["%converse?", "%%converse??", "'''\n%converse Hello?\n'''", "x = '%converse a?'"]
)
def test_a_question_about_the_magic_is_left_to_ipython(shell, cell):
    """Help is help, and what only looks like a magic is not asked."""
    before = len(nb.recordings)
    shell.run(cell)
    assert len(nb.recordings) == before


@pytest.mark.parametrize("magic", ["converse", "bedrock"])
def test_help_shows_examples_and_then_options(shell, magic):
    """What `?` shows begins with how to use it."""
    told = shell.ip.find_line_magic(magic).__doc__
    assert told.index("Examples::") < told.index("--var NAME")


def test_loading_again_changes_nothing_and_unloading_takes_all(shell):
    """Magics and completions are there once, and then not at all."""
    before = len(shell.ip.Completer.custom_matchers)
    nb.load_ipython_extension(shell.ip)
    shell.run("%reload_ext bedrock_nb")
    assert len(shell.ip.Completer.custom_matchers) == before
    shell.run("%unload_ext bedrock_nb")
    assert len(shell.ip.Completer.custom_matchers) == before - 1
    for kind in ("line", "cell"):
        assert not {"converse", "bedrock"} & set(shell.ip.magics_manager.magics[kind])
    assert "Commands" not in shell.ip.magics_manager.registry
    assert not [one for one in shell.ip.configurables if "bedrock" in type(one).__module__]
    nb.unload_ipython_extension(shell.ip)  # what is not there is not missed


# -- %bedrock --------------------------------------------------------------------------------------


def test_bedrock_says_where_we_are(shell, server):
    """Nothing is connected by asking; then the endpoint, the default model, versions, recordings."""
    shell.names["client"] = None
    assert "nothing yet: %bedrock local" in repr(shell.run("%bedrock")[1])
    printed, value = shell.run(f"%bedrock {server.endpoint_url}")
    assert printed.startswith("Connected to the embedded Bedrock")
    assert value is None
    card = shell.run("%bedrock")[1]
    assert card.facts["endpoint"] == server.endpoint_url == shell.names["client"].meta.endpoint_url
    assert card.facts["default model"] in card._repr_html_()
    assert card.facts["recordings"] == str(len(nb.recordings))


@pytest.mark.parametrize(
    "host", ["example.com", "127.0.0.1:9"], ids=["elsewhere", "a tunnel on this machine"]
)
@pytest.mark.parametrize(
    ("variable", "kind"),
    [("ANY_OTHER", "keys given in code"), ("AWS_BEARER_TOKEN_BEDROCK", "a Bedrock API key")],
)
def test_bedrock_tells_no_secret(shell, monkeypatch, variable, kind, host):
    """Of credentials only their kind is told; a key in the endpoint's URL is not, and HTML is escaped."""
    monkeypatch.setenv(variable, "secret-of-a-bearer")
    client = boto3.Session("AKIASECRET", "secret-key", "secret-token", "eu-west-1").client(
        "bedrock-runtime", endpoint_url=f"https://user:secret@{host}/<b>?key=secret"
    )
    shell.names["client"] = client
    card = shell.run("%bedrock")[1]
    assert card.facts["credentials"] == kind
    assert card.facts["region"] == "eu-west-1"
    assert card.facts["connected to"] == "an endpoint that is not AWS"
    for shown in (repr(card), card._repr_html_()):
        assert "secret" not in shown.casefold()
    assert "<b>" not in card._repr_html_()


def test_bedrock_connects_into_a_variable(shell, server):
    """--var names it, and the target may be filled in."""
    shell.names["place"] = server.endpoint_url
    shell.run("%bedrock {place} --var other")
    assert shell.names["other"].meta.endpoint_url == server.endpoint_url


def test_bedrock_lists_models_that_stream(shell):
    """All of them, or those with a word in their names; short names are those of nb.models."""
    every, some = shell.run("%bedrock models")[1], shell.run("%bedrock models 'Claude'")[1]
    assert 0 < len(some) < len(every)
    for short, called, *_ in every.rows:
        assert not short or nb.models.resolve(short) == called
    assert "claude_sonnet_4_5" in repr(some)
    assert "<td" in some._repr_html_()


def test_bedrock_last_is_the_last_recording(shell, recordings):
    """Its model, how it ended, and its timing."""
    assert "none yet" in repr(shell.run("%bedrock last")[1])
    shell.run("%converse -m echo hello")
    facts = shell.run("%bedrock last")[1].facts
    assert facts["model"] == "embedded.echo-v1:0"
    assert facts["status"] == "complete, end_turn"
    assert facts["timing"].startswith("TTFT")


# -- in a kernel -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(kernel, server):
    """The kernel with the extension, and variables of several kinds."""
    _, client = kernel
    client.execute_interactive(
        "%load_ext bedrock_nb\nimport bedrock_nb as nb\n"
        f"client = nb.connect({server.endpoint_url!r}, verbose=False)\n"
        "my_client, talk, number = client, nb.Conversation(client), 1\n"
        "answer = nb.stream(client, 'x', model='echo').drain()",
        output_hook=lambda message: None,
        timeout=60,
    )
    return kernel


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        ("%%converse --m", {"--model", "--max-tokens"}, {"--system"}),
        ("%converse ", {"--model", "--chat"}, {"talk"}),
        ("%%converse -s 'a b' --model nova_", {"nova_lite", "nova_micro"}, {"echo"}),
        (
            "%converse -m us.anthropic.claude-sonnet-4-5",
            {"us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
            set(),
        ),
        ("%converse --model=sonnet_4_5", {"claude_sonnet_4_5"}, {"nova_lite"}),
        ("%%converse --chat ", {"talk"}, {"client", "number"}),
        ("%%converse --client ", {"client", "my_client"}, {"talk", "number"}),
        ("%%converse -v ", {"reply", "answer"}, {"number", "client"}),
        ("%bedrock ", {"aws", "local", "models", "last"}, {"number"}),
        ("x = %bedrock mo", {"models"}, {"aws"}),
        ("%bedrock aws --r", {"--region"}, {"--profile"}),
        ("%bedrock models nova", {"nova_lite"}, {"echo"}),
        ("%converse Hello --m", set(), {"--model"}),
    ],
)
def test_the_tab_key_knows_the_options(kernel, typed, offered, not_offered):
    """Options, models, and variables of the right kind, wherever the magic stands in a cell."""
    _, client = kernel
    body = "\nTell me of Rome" if typed.startswith("%%") else ""
    before = "" if typed.startswith("%%") else "number = 2\n"
    reply = client.complete(before + typed + body, len(before + typed), reply=True, timeout=30)["content"]
    found = {reply["matches"][i] for i in range(len(reply["matches"]))}
    assert offered <= found
    assert not not_offered & found
    start = (before + typed)[: reply["cursor_start"]]
    assert start.endswith((" ", "=")) or not offered


def test_an_interrupted_cell_keeps_its_reply(kernel):
    """What came until the interrupt is in the variable, and the numbers are in the output's metadata."""
    manager, client = kernel
    messages = []

    def hook(message):
        messages.append(message)
        if message["msg_type"] == "update_display_data" and "text/html" in message["content"]["data"]:
            interrupt()

    def interrupt(done=[]):  # noqa: B006  (once)
        if not done:
            done.append(True)
            manager.interrupt_kernel()

    reply = client.execute_interactive(
        "%%converse -m canned@stall:after=5 --var kept\nCount from 1 to 20", output_hook=hook, timeout=60
    )
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    finals = [m["content"] for m in messages if m["msg_type"] == "display_data"]
    assert finals[-1]["metadata"]["bedrock_nb"]["status"] == "cancelled"
    said = client.execute_interactive(
        "", user_expressions={"kept": "kept.status, len(kept.text) > 0"}, timeout=60
    )
    assert said["content"]["user_expressions"]["kept"]["data"]["text/plain"] == "('cancelled', True)"


# -- in a terminal ---------------------------------------------------------------------------------


def test_it_works_in_a_terminal(server, tmp_path):
    """IPython without a notebook prints the answer as it comes, then the timing; there is no markup."""
    lines = [
        "%load_ext bedrock_nb",
        f"%bedrock {server.endpoint_url}",
        "%converse -m echo hello {1 + len('a')} {len('ab')}",
        "print(reply.status)",
        "%bedrock",
        "exit",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=nocolor", "--quick"],
        input="\n".join(lines) + "\n",
        env=None,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=tmp_path,
    )
    assert "hello 2 2\n" in done.stdout
    assert "TTFT" in done.stdout
    assert "complete\n" in done.stdout
    assert "made up: none are needed" in done.stdout
    assert "<" not in done.stdout.replace("<Reply", "")
