"""Tools of MCP servers: a real server on the official package, started over stdio and reached by HTTP."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.types import AudioContent, BlobResourceContents, EmbeddedResource, ImageContent, TextContent

from bedrock_nb.errors import RequestError, ServerError, ToolError, ToolInputError
from bedrock_nb.mcp_tools import MCPServer, fit_names
from bedrock_nb.mcp_tools.content import blocks_of
from bedrock_nb.mcp_tools.link import Link, Place
from bedrock_nb.server.validation import validate
from bedrock_nb.tools import Tool, ToolContext, as_tools, content_of
from tests.mcp_server import PDF, PIXEL
from tests.mcp_server import server as application
from tests.test_mend import json_of

SCRIPT = Path(__file__).with_name("mcp_server.py")
KEY = "kept-to-ourselves"


@pytest.fixture(scope="module")
def server() -> Iterator[MCPServer]:
    with MCPServer(sys.executable, SCRIPT, env={"LESSON_KEY": KEY}) as server:
        yield server


@pytest.fixture
def tools(server) -> dict[str, Tool]:
    return as_tools(server.tools)


def run(tool: Tool, context: ToolContext | None = None, /, **input: Any) -> Any:
    """A call as whoever runs tools makes it."""
    return tool(**tool.arguments(input, context))


def inside(tools: dict[str, Tool]) -> dict[str, Any]:
    return run(tools["inside"])[0]["json"]


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when it holds; a test that waits in vain ends by its time limit."""
    while not holds():
        threading.Event().wait(0.01)


# -- the list --------------------------------------------------------------------------------------


def test_each_tool_of_the_server_is_a_tool_that_converse_takes(server, tools):
    """Names are made fit, what is not called read-only asks, and the service takes all specs."""
    assert [(name, tool.approve) for name, tool in tools.items()] == [
        ("add", "always"),
        ("odd_name_1", "ask"),
        ("odd_name_1_2", "ask"),
        ("show", "always"),
        ("refuse", "ask"),
        ("wait", "ask"),
        ("inside", "always"),
        ("die", "ask"),
    ]
    assert tools["add"].description == "Add two whole numbers."
    assert set(tools["add"].schema["properties"]) == {"a", "b"}
    specs = [tool.spec for tool in server.tools]
    validate("ConverseStream", "m", json_of({"messages": [said("hello")], "toolConfig": {"tools": specs}}))


def said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": text}]}


@settings(max_examples=40)
@given(st.lists(st.text(max_size=70) | st.sampled_from(["a", "a.b", "a_b", "a_b_2"])), st.text(max_size=5))
def test_whatever_names_a_server_has_bedrock_takes_them(names, prefix):
    """Each name gets one that fits the service's pattern, and no two get the same."""
    fit = fit_names(names, prefix)
    assert len(fit) == len(names) == len(set(fit))
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in fit)


@pytest.mark.parametrize(
    ("names", "prefix", "fit"),
    [
        (["read-file", "Read_2"], "", ["read-file", "Read_2"]),
        (["read"], "files.", ["files_read"]),
        (["a.b", "a/b", "a_b_2"], "", ["a_b", "a_b_3", "a_b_2"]),
        (["x" * 70, "x" * 80], "", ["x" * 64, "x" * 62 + "_2"]),
    ],
)
def test_a_name_changes_no_more_than_it_must(names, prefix, fit):
    """Fit names stay, a number is added to what clashes, and never makes another tool's name."""
    assert fit_names(names, prefix) == fit


# -- calls -----------------------------------------------------------------------------------------


def test_a_call_gives_the_structured_result_once(tools):
    """The text beside structured content that says the same is left out; a direct call works, too."""
    assert run(tools["add"], a=1, b=2) == tools["add"](a=1, b=2) == [{"json": {"result": 3}}]


def test_a_parameter_called_context_is_the_servers(tools):
    """The call's own context does not take the name from the server's parameter."""
    assert run(tools["odd_name_1"], context="of mine") == [{"json": {"result": "odd 1 of mine"}}]


def test_content_of_every_kind_becomes_blocks_that_the_service_takes(tools):
    """Images go by their bytes, documents by their type, text as text; the rest is told about."""
    blocks = content_of(run(tools["show"]))
    result = {"toolResult": {"toolUseId": "t", "content": list(blocks)}}
    call = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "show", "input": {}}}]}
    turns = [said("Show me."), call, {"role": "user", "content": [result]}]
    config = {"tools": [tools["show"].spec]}
    validate("ConverseStream", "m", json_of({"messages": turns, "toolConfig": config}))
    texts = [block["text"] for block in blocks if "text" in block]
    [document] = [block["document"] for block in blocks if "document" in block]
    assert {"image": {"format": "png", "source": {"bytes": PIXEL}}} in blocks
    assert document["format"] == "pdf"
    assert document["source"] == {"bytes": PDF}
    assert f"The document {document['name']!r} is file:///tmp/year_report.pdf." in texts
    assert "notes://one\nRain is expected." in texts
    assert "file:///a.txt\nbytes of text" in texts
    assert [text.partition(",")[0] for text in texts if text.startswith("(")] == [
        "(audio/wav",
        "(application/zip from file:///a.zip",
    ]
    assert "more, https://example.com/more, text/html" in texts


def test_two_documents_of_one_file_have_two_names(tools):
    """The service refuses a request that holds two documents of one name."""
    blocks = [*run(tools["show"]), *run(tools["show"])]
    names = [block["document"]["name"] for block in blocks if "document" in block]
    assert len(set(names)) == len(names) == 2


@pytest.mark.parametrize(
    ("texts", "structured", "blocks"),
    [
        (['{"a": 1}'], {"a": 1}, [{"json": {"a": 1}}]),
        (["1", "two"], {"result": [1, "two"]}, [{"json": {"result": [1, "two"]}}]),
        (["It is 3."], {"result": 3}, [{"json": {"result": 3}}, {"text": "It is 3."}]),
        (["[1]"], [1], [{"json": {"result": [1]}}]),
        (["[" * 5000], {"a": 1}, [{"json": {"a": 1}}, {"text": "[" * 5000}]),
        ([" "], None, []),
    ],
)
def test_structured_content_stands_for_the_texts_that_repeat_it(texts, structured, blocks):
    """What is said twice is given once; what only the text says stays."""
    assert blocks_of([TextContent(text=text) for text in texts], structured) == blocks


@pytest.mark.parametrize(
    "part",
    [
        ImageContent(data="no base64!", mime_type="image/png"),
        ImageContent(data=base64.b64encode(PIXEL + bytes(3_750_000)).decode(), mime_type="image/png"),
        AudioContent(data="", mime_type=""),
        EmbeddedResource(
            resource=BlobResourceContents(uri="a:b", blob="", mime_type="application/pdf"),
        ),
    ],
)
def test_content_that_the_service_would_refuse_is_told_in_words(part):
    """A broken, empty or too large block would spoil the conversation for good."""
    [block] = blocks_of([part])
    assert block["text"].endswith("cannot be shown here)")


def test_a_tool_that_fails_raises_what_it_says(tools):
    """A result that is marked as an error is one, with the server's words for the model."""
    with pytest.raises(ToolError, match=r"^no such city$"):
        run(tools["refuse"])


def test_arguments_are_checked_before_and_by_the_server(tools):
    """What is missing is told without a call; what has the wrong type the server tells."""
    with pytest.raises(ToolInputError, match="b: it is required"):
        run(tools["add"], a=1)
    with pytest.raises(ToolError, match="valid integer"):
        run(tools["add"], a="x", b=1)


def test_a_call_that_is_given_up_is_cancelled_at_the_server(tools):
    """Who runs the tool says through the context that nobody waits; the server's own task ends."""
    context, raised = ToolContext(), []

    def call() -> None:
        with pytest.raises(ToolError, match="given up"):
            run(tools["wait"], context, label="one")
        raised.append(True)

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: "one" in inside(tools)["begun"])
    context.cancel()
    thread.join()
    assert raised
    wait_until(lambda: "one" in inside(tools)["given_up"])


def test_it_works_where_a_loop_runs_already(tools):
    """In Jupyter the main thread runs an event loop: the client has one of its own."""

    async def cell() -> Any:
        return tools["add"](a=2, b=2)

    assert asyncio.run(cell()) == [{"json": {"result": 4}}]


# -- the server as a whole -------------------------------------------------------------------------


def test_the_process_gets_no_more_of_the_environment_than_it_needs(tools):
    """Credentials in this process's environment stay here; what env= gives is there."""
    environment = inside(tools)["environment"]
    assert {"PATH", "LESSON_KEY"} <= set(environment)
    assert "PYTEST_CURRENT_TEST" in os.environ
    assert "PYTEST_CURRENT_TEST" not in environment


def test_a_server_that_dies_says_so_and_can_be_started_again():
    """Its calls say that it has ended, its last words are kept, and nothing of it is left after close."""
    server = MCPServer(sys.executable, SCRIPT, env={"LESSON_KEY": KEY})
    assert repr(server) == f"<MCPServer {Path(sys.executable).name!r}: not started>"
    with server.start():
        assert repr(server) == "<MCPServer 'lessons': 8 tools, running>"
        tools = as_tools(server.tools)
        with pytest.raises(ToolError, match="Connection closed") as error:
            run(tools["die"], words=f"I fell over {KEY}\x1b[2J")
        assert "fell" not in str(error.value)  # it goes to the model
        assert server.stderr.endswith("I fell over …[2J")
        assert repr(server) == "<MCPServer 'lessons': 8 tools, ended>"
        with pytest.raises(ToolError, match="has ended"):
            run(tools["add"], a=1, b=2)
        process = inside(as_tools(server.start().tools))["pid"]
    assert repr(server) == "<MCPServer 'lessons': 8 tools, closed>"
    with pytest.raises(ToolError, match="was closed"):
        run(tools["add"], a=1, b=2)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(RequestError, match="is not running"):
        _ = server.tools


def test_a_server_is_reached_by_http():
    """The tools are the same, headers go with every request and show nowhere, slow calls end."""
    keys = []
    http = application.streamable_http_app()

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            keys.append(dict(scope["headers"]).get(b"x-key"))
        await http(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner = uvicorn.Server(uvicorn.Config(noting, log_level="error", ws="none"))
        thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}/mcp"
        server = MCPServer(url=f"http://me:{KEY}@{address}", headers={"X-Key": KEY}, timeout=0.2)
        assert repr(server) == f"<MCPServer {address!r}: not started>"
        with server:
            tools = as_tools(server.tools)
            patient = ToolContext(deadline_s=60.0, clock=lambda: 0.0)  # its limit counts, not the server's
            assert run(tools["odd_name_1_2"], patient) == [{"json": {"result": "odd 2"}}]
            with pytest.raises(ToolError, match="timed out"):
                tools["wait"](label="two")
            assert KEY not in repr(server) + repr(vars(server))
        assert set(keys) == {KEY.encode()}
        with pytest.raises(ServerError, match=r"/nowhere .*often /mcp"):
            MCPServer(url=f"http://{address}/nowhere").start()
        runner.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        (["no-such-program"], RequestError, "'no-such-program' .*: No such file or directory.*on the PATH"),
        (["npx -y server"], RequestError, "one by one"),
        (["sh", "-c", f"echo no token {KEY} >&2; exit 3"], ServerError, "ended.*\nno token …$"),
        (["sh", "-c", "echo hello"], ServerError, "ended, or spoke no MCP"),
        (["sh", "-c", "cat > /dev/null"], ServerError, r"did not answer within 0\.1 s.*start_timeout="),
    ],
    ids=["no program", "one text", "ends", "no MCP", "silent"],
)
def test_a_server_that_does_not_start_says_why(command, error, words, capfd):
    """The message has the server's last words, without secrets; nothing is printed, nothing stays behind."""
    silent, before = "cat > /dev/null" in command, threading.enumerate()
    server = MCPServer(*command, env={"KEY": KEY}, start_timeout=0.1 if silent else 30.0)
    with pytest.raises(error, match=f"(?s){words}"):
        server.start()
    assert "not started" in repr(server)
    assert capfd.readouterr() == ("", "")
    assert "bedrock_nb.mcp" not in [one.name for one in threading.enumerate() if one not in before]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of the two"),
        ({"command": "a", "url": "http://h/"}, "one of the two"),
        ({"url": "ftp://h/"}, "not the address"),
        ({"url": "http://h/", "env": {}}, "headers="),
        ({"command": "a", "headers": {}}, "env="),
        ({"command": "a", "cwd": "/no/such/folder"}, "no folder"),
        ({"command": "a", "cwd": 5}, "cwd is of type int"),
        ({"command": 5}, "command is of type int"),
        ({"command": b"a"}, "command is of type bytes"),
        ({"url": 5}, "not the address"),
        ({"url": "http://h:port/"}, "not the address"),
        ({"url": "http://[h/"}, "not the address"),
        ({"command": "a", "prefix": 5}, "prefix is of type int"),
        ({"command": "a", "timeout": "soon"}, "timeout is of type str"),
        ({"command": "a", "start_timeout": None}, "start_timeout is of type NoneType"),
        ({"command": "a", "start_timeout": float("nan")}, "start_timeout is nan"),
        ({"command": "a", "env": {"PIN": 123456}}, "value of 'PIN' in env= is of type int"),
        ({"command": "a", "env": {"PIN": b"123456"}}, "value of 'PIN' in env= is of type bytes"),
        ({"command": "a", "env": {"PIN": None}}, "Leave it out"),
        ({"command": "a", "env": {123456: "a"}}, "A name in env= is of type int"),
        ({"command": "a", "env": "PIN=123456"}, "env= is of type str"),
        ({"url": "http://h/", "headers": {"PIN": 123456}}, "value of 'PIN' in headers="),
    ],
)
def test_arguments_that_name_no_server_are_refused(arguments, words):
    """Each message says what to write instead, and shows nothing that may be secret."""
    with pytest.raises(RequestError, match=words) as caught:
        MCPServer(**arguments)
    assert "123456" not in str(caught.value)


def test_an_argument_that_is_no_text_is_refused():
    """As the command is."""
    with pytest.raises(RequestError, match="A part of the command is of type int"):
        MCPServer("python", 3)


def test_who_waits_for_a_start_never_waits_for_ever(capfd):
    """Even what cannot be told ends the start, and nothing of it is printed."""
    link = Link(Place((sys.executable,), env={"PIN": 123456}))  # type: ignore[dict-item]
    with pytest.raises(ServerError, match="could not be started") as caught:
        link.start()
    assert "123456" not in "".join([str(caught.value), *capfd.readouterr()])


#: A server on nothing but the protocol: a list with pages, and a tool that tells its environment as an error.
RAW = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    method, pages = asked.get("method"), sys.argv[1]
    result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "raw"}}
    if method == "initialize":
        result["serverInfo"]["version"] = "1"
    elif method == "tools/list":
        cursor = int((asked.get("params") or {}).get("cursor", 0))
        result = {"tools": [{"name": f"t{cursor}", "inputSchema": {"type": "object"}}]}
        result["nextCursor"] = str(cursor % 2 + 1 if pages == "circle" else cursor + 1)
    elif method == "tools/call":
        text = "x" * 9_995 + os.environ["KEY"]
        result = {"isError": True, "content": [{"type": "text", "text": text}]}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def test_a_page_that_comes_again_ends_the_list():
    """Of pages that go round each is taken once; what a tool says of its failure has no secrets in it."""
    with MCPServer(sys.executable, "-c", RAW, "circle", env={"KEY": KEY}) as server:
        assert [tool.name for tool in server.tools] == ["t0", "t1", "t2"]
        with pytest.raises(ToolError, match=r"x…$") as caught:
            run(server.tools[0])
    assert KEY[:3] not in str(caught.value)


def test_a_list_without_an_end_is_cut_with_a_warning():
    """Its first hundred pages are used."""
    server = MCPServer(sys.executable, "-c", RAW, "endless")
    with pytest.warns(UserWarning, match="did not come to an end; its first 100 are used"):
        server.start()
    assert len(server.tools) == 100
    server.close()


def test_without_the_package_it_says_what_to_install(monkeypatch):
    """mcp is an extra: who lacks it is told its name."""
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(RequestError, match=r'pip install "bedrock-nb\[mcp\]"'):
        MCPServer("a").start()


def test_the_package_is_imported_with_the_first_server():
    """Making a server object costs no import of mcp."""
    made = "import sys; from bedrock_nb.mcp_tools import MCPServer; MCPServer('a')"
    code = f"{made}; sys.exit('mcp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
