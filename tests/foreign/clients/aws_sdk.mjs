// The AWS SDK for JavaScript, version 3: ConverseStream with and without a tool, Converse, both InvokeModel
// operations. It reads the endpoint and the keys from the environment, and nothing else is set: by itself this
// client speaks HTTP/2 without asking first. With HANDLER=http1 it is given the handler that speaks HTTP/1.1,
// from a package that comes with it.
//
//     node aws_sdk.mjs PROMPT QUESTION
//
// Prints one JSON object. NODE_MODULES says where the packages are: imports do not look at NODE_PATH.
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_MODULES ?? process.cwd()}/`);
const {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} = require("@aws-sdk/client-bedrock-runtime");
const { NodeHttpHandler } = require("@smithy/node-http-handler");

const [prompt, question] = process.argv.slice(2);
const modelId = "anthropic.claude-sonnet-4-5-20250929-v1:0";
const client = new BedrockRuntimeClient(
  process.env.HANDLER === "http1" ? { requestHandler: new NodeHttpHandler() } : {},
);
const user = (text) => ({ role: "user", content: [{ text }] });
const usageOf = ({ inputTokens, outputTokens, totalTokens }) => ({ inputTokens, outputTokens, totalTokens });

const weather = {
  toolSpec: {
    name: "get_weather",
    description: "The weather in a city, now.",
    inputSchema: {
      json: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
};

async function converseStream(input) {
  const { stream } = await client.send(new ConverseStreamCommand({ modelId, ...input }));
  const seen = { text: "", pieces: 0, stop: null, usage: null, uses: [] };
  for await (const event of stream) {
    const use = event.contentBlockStart?.start?.toolUse;
    const delta = event.contentBlockDelta?.delta;
    if (use) seen.uses.push({ id: use.toolUseId, name: use.name, raw: "" });
    if (delta?.text !== undefined) (seen.text += delta.text), seen.pieces++;
    if (delta?.toolUse) seen.uses.at(-1).raw += delta.toolUse.input;
    if (event.messageStop) seen.stop = event.messageStop.stopReason;
    if (event.metadata) seen.usage = usageOf(event.metadata.usage);
  }
  return seen;
}

async function tool() {
  const toolConfig = { tools: [weather] };
  const asked = await converseStream({ messages: [user(question)], toolConfig });
  const [use] = asked.uses;
  const input = JSON.parse(use.raw);
  const result = `Sunny in ${input.city}, 21 degrees`;
  const said = asked.text ? [{ text: asked.text }] : [];
  const turns = [
    user(question),
    { role: "assistant", content: [...said, { toolUse: { toolUseId: use.id, name: use.name, input } }] },
    { role: "user", content: [{ toolResult: { toolUseId: use.id, content: [{ text: result }] } }] },
  ];
  const told = await converseStream({ messages: turns, toolConfig });
  return { name: use.name, input, result, text: told.text, pieces: told.pieces, stop: told.stop };
}

async function whole() {
  const answer = await client.send(new ConverseCommand({ modelId, messages: [user(prompt)] }));
  return {
    text: answer.output.message.content[0].text,
    stop: answer.stopReason,
    usage: usageOf(answer.usage),
  };
}

// InvokeModel's body is in Anthropic's own format.
const native = () => ({
  modelId,
  contentType: "application/json",
  accept: "application/json",
  body: JSON.stringify({
    anthropic_version: "bedrock-2023-05-31",
    max_tokens: 2000,
    messages: [{ role: "user", content: prompt }],
  }),
});

async function invoke() {
  const answer = await client.send(new InvokeModelCommand(native()));
  const body = JSON.parse(new TextDecoder().decode(answer.body));
  return { text: body.content[0].text, stop: body.stop_reason, usage: body.usage };
}

async function invokeStream() {
  const { body } = await client.send(new InvokeModelWithResponseStreamCommand(native()));
  const seen = { text: "", pieces: 0, stop: null, usage: {} };
  for await (const { chunk } of body) {
    const event = JSON.parse(new TextDecoder().decode(chunk.bytes));
    if (event.delta?.text !== undefined) (seen.text += event.delta.text), seen.pieces++;
    if (event.delta?.stop_reason) seen.stop = event.delta.stop_reason;
    Object.assign(seen.usage, event.message?.usage, event.usage);
  }
  return seen;
}

const jobs = {
  stream: () => converseStream({ messages: [user(prompt)] }),
  tool,
  whole,
  invoke,
  invoke_stream: invokeStream,
};
const seen = {};
for (const [name, job] of Object.entries(jobs)) {
  try {
    seen[name] = await job();
  } catch (error) {
    seen[name] = { error: `${error.name}: ${error.message}` };
  }
}
client.destroy(); // a socket with a stream that nobody read to its end would keep the process alive
console.log(JSON.stringify(seen));
