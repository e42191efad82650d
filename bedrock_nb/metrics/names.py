"""What other tools call our metrics, and where their formula is another one.

Strategy: one table, metric -> tool -> names. An entry begins with the very names, divided by commas; where
the tool's formula is not ours, it follows in parentheses how it differs, or, after "=", what it is. A tool
without such a number has no entry.

Names and formulas are those of LLMeter 0.2, vLLM's benchmark (2026), GuideLLM 0.8, AIPerf 0.13, the
CloudWatch metrics and the Converse API of Amazon Bedrock, and OpenTelemetry's conventions for generative AI
(2026); where each stands is told in `dialects`, which makes their own numbers for a recording.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["NAMES", "TOOLS"]

#: Whose names are given, in the order in which they are.
TOOLS = ("LLMeter", "vLLM", "GuideLLM", "AIPerf", "AWS", "OpenTelemetry")

#: Metric -> tool -> its names for it.
NAMES: Mapping[str, Mapping[str, str]] = {
    "t_headers_s": {
        "AIPerf": "stream_setup_latency",
    },
    "ttft_s": {
        "LLMeter": "time_to_first_token (with ttft_visible_tokens_only=False; later than 0.2 always)",
        "vLLM": "TTFT, ttft (ms in what it prints)",
        "GuideLLM": "time_to_first_token_ms, TTFT",
        "AIPerf": "TTFT, time_to_first_token",
        "AWS": "TimeToFirstToken (ms, measured at the server)",
        "OpenTelemetry": "gen_ai.client.inference.time_to_first_chunk, gen_ai.response.time_to_first_chunk",
    },
    "ttfvt_s": {
        "LLMeter": "time_to_first_token (by default; later than 0.2 time_to_first_content_token)",
        "GuideLLM": "time_to_first_output_token_ms, TTFOT",
        "AIPerf": "TTFO, time_to_first_output_token (tool input counts too)",
    },
    "ttst_s": {
        "AIPerf": "TTST, time_to_second_token",
    },
    "ttlt_s": {
        "LLMeter": "time_to_last_token, TTLT (it also counts the block stop, and no tool input)",
        "AIPerf": "request_latency, Req Latency",
        "AWS": "InvocationLatency (ms, measured at the server, until it has made the last token)",
    },
    "e2e_s": {
        "vLLM": "E2EL, e2el (ms; since September 2026 its end is the last chunk with a choice)",
        "GuideLLM": "request_latency (until the response is read to its end)",
        "OpenTelemetry": "gen_ai.client.inference.duration (failed calls have one too)",
    },
    "tpot_s": {
        "LLMeter": "time_per_output_token, TPOT (from its own first to its own last token)",
        "vLLM": "TPOT, tpot (its end is E2EL)",
        "GuideLLM": "ITL, inter_token_latency_ms (it calls another number TPOT)",
        "AIPerf": "ITL, inter_token_latency (N less the tokens of the first chunk, if told)",
        "OpenTelemetry": "gen_ai.server.time_per_output_token (at the server)",
    },
    "gap_p50_s": {
        "vLLM": "ITL, Median ITL (= every c(i+1) - c(i), of all replies pooled)",
        "AIPerf": "ICL, inter_chunk_latency (= every c(i+1) - c(i), of all replies pooled)",
        "OpenTelemetry": "gen_ai.client.inference.time_per_output_chunk (a histogram of all gaps)",
    },
    "gap_p99_s": {
        "vLLM": "P99 ITL (pooled; given for any number of gaps)",
        "AIPerf": "p99 ICL (pooled; given for any number of gaps)",
    },
    "content_chunks": {
        "GuideLLM": "token_iterations",
    },
    "output_tps": {
        "AIPerf": "output_token_throughput_per_user (1/ITL)",
        "AWS": "OTPS (with N in place of N - 1, at the server)",
    },
    "e2e_tps": {
        "GuideLLM": "output_tokens_per_second",
        "AIPerf": "e2e_output_token_throughput (its end is the last content delta)",
    },
    "prefill_tps": {
        "AIPerf": "prefill_throughput_per_user (its own tokenizer counts the input)",
    },
    "server_latency_ms": {
        "AWS": "metrics.latencyMs",
    },
    "retries": {
        "LLMeter": "retries (those of boto3)",
    },
    "input_tokens": {
        "LLMeter": "num_tokens_input",
        "AWS": "inputTokens, InputTokenCount",
    },
    "cache_read_tokens": {
        "LLMeter": "num_tokens_input_cached (None where none is told)",
        "GuideLLM": "cached_tokens",
        "AIPerf": "usage_prompt_cache_read_tokens",
        "AWS": "cacheReadInputTokens",
        "OpenTelemetry": "gen_ai.usage.cache_read.input_tokens",
    },
    "cache_write_tokens": {
        "AIPerf": "usage_prompt_cache_write_tokens",
        "AWS": "cacheWriteInputTokens",
        "OpenTelemetry": "gen_ai.usage.cache_write.input_tokens",
    },
    "total_input_tokens": {
        "vLLM": "prompt_len",
        "GuideLLM": "prompt_tokens",
        "AIPerf": "ISL, input_sequence_length (counted by its own tokenizer)",
        "OpenTelemetry": "gen_ai.usage.input_tokens",
    },
    "output_tokens": {
        "LLMeter": "num_tokens_output",
        "vLLM": "output_tokens",
        "GuideLLM": "output_tokens",
        "AIPerf": "OSL, output_sequence_length (counted by its own tokenizer)",
        "AWS": "outputTokens, OutputTokenCount",
        "OpenTelemetry": "gen_ai.usage.output_tokens",
    },
    "total_tokens": {
        "GuideLLM": "total_tokens (its own sum of prompt and output)",
        "AIPerf": "usage_total_tokens",
        "AWS": "totalTokens",
    },
    "cached_share": {
        "AIPerf": "Overall Usage Prompt Cache Read % (of the whole run, in percent)",
    },
    "tool_s": {
        "OpenTelemetry": "gen_ai.execute_tool.duration (of each run apart)",
    },
}
