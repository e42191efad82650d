"""A small MCP server on the official package: every kind of content, a tool that waits, one that ends it.

Strategy: run as a script it speaks over stdin and stdout, as MCP servers in the field do; imported, it is an
application for streamable HTTP. What it notes about its own calls can be asked for by a tool.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%%EOF\n"

server = MCPServer("lessons", version="1.0", log_level="ERROR")
begun: list[str] = []
given_up: list[str] = []
reads = ToolAnnotations(read_only_hint=True)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@server.tool(annotations=reads)
def add(a: int, b: int) -> int:
    """Add two whole numbers."""
    return a + b


@server.tool(name="odd name.1", description="A name that Bedrock does not take.")
def odd(context: str) -> str:
    return f"odd 1 {context}"


@server.tool(name="odd/name 1")
def odd_too() -> str:
    return "odd 2"


@server.tool(annotations=reads)
def show() -> CallToolResult:
    """One block of each kind."""
    return CallToolResult(
        content=[
            TextContent(text="a pixel:"),
            ImageContent(data=_base64(PIXEL), mime_type="image/jpeg"),  # what it says is wrong: it is a PNG
            ImageContent(data=_base64(b"<svg/>"), mime_type="image/svg+xml"),
            AudioContent(data=_base64(b"RIFF"), mime_type="audio/wav"),
            EmbeddedResource(resource=TextResourceContents(uri="notes://one", text="Rain is expected.")),
            EmbeddedResource(
                resource=BlobResourceContents(
                    uri="file:///tmp/year_report.pdf", blob=_base64(PDF), mime_type="application/pdf"
                )
            ),
            EmbeddedResource(
                resource=BlobResourceContents(
                    uri="file:///a.txt", blob=_base64(b"bytes of text"), mime_type="text/plain"
                )
            ),
            EmbeddedResource(
                resource=BlobResourceContents(
                    uri="file:///a.zip", blob=_base64(b"PK"), mime_type="application/zip"
                )
            ),
            ResourceLink(name="more", uri="https://example.com/more", mime_type="text/html"),
        ]
    )


@server.tool()
def refuse() -> CallToolResult:
    """Say that it went wrong."""
    return CallToolResult(content=[TextContent(text="no such city")], is_error=True)


@server.tool()
async def wait(label: str) -> str:
    """Wait until the call is given up."""
    begun.append(label)
    try:
        await anyio.sleep_forever()
    finally:
        given_up.append(label)
    return "never"


@server.tool(annotations=reads)
def inside() -> dict[str, Any]:
    """What the process is and knows."""
    return {"pid": os.getpid(), "begun": begun, "given_up": given_up, "environment": sorted(os.environ)}


@server.tool()
def die(words: str) -> str:
    """End the server."""
    print(words, file=sys.stderr, flush=True)
    os._exit(3)


if __name__ == "__main__":
    server.run()
