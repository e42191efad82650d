"""Anthropic's messages format, which InvokeModel takes for Claude, from and to what responders speak.

Strategy: one translation each way, so that every responder answers InvokeModel too. A request becomes the
keyword arguments of ``converse_stream``. Tables say which members there are and of what type: what stands
in no table is refused, nothing is passed over. An answer is first what Converse would say (`perform.output`,
or typed events one by one), and is then said in Anthropic's words.

What one format says and the other does not: images and results of tools that the service ran have no place
in an answer here and are left out, so blocks are numbered anew. So are a citation's ``source``, but for
search results, and citations without a place. A `StreamFault` is an exception frame, and a `Seam` is not on
the wire: both are the caller's.

Inside: `members` and `blocks` read parts, `asked` a request; `answer` and `stream` write.

Formats: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
and https://docs.anthropic.com/en/api/messages. Bedrock checks the members of a body in the words of a JSON
schema (``Malformed input request: #/…``), Claude what is inside of them in its own
(``messages.0.content: …``).
"""

from __future__ import annotations

from bedrock_nb.server.anthropic.answer import message_id, output
from bedrock_nb.server.anthropic.asked import to_converse
from bedrock_nb.server.anthropic.stream import Translator, response_headers, to_chunk

__all__ = ["Translator", "message_id", "output", "response_headers", "to_chunk", "to_converse"]
