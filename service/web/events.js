// Server-sent events over fetch, which unlike EventSource can show a key.

import { send } from "./api.js";

const RETRY_MS = 1_000;

// The events of `path`, { type, data }, until the service says that there are no more (204) or
// `signal` is given. A broken connection is taken up again after the last event that came.
export async function* eventsOf(path, signal) {
  let last = null;
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const response = await send("GET", path, { headers, signal });
      if (response.status === 204) return;
      for await (const event of parsed(response.body)) {
        last = event.id ?? last;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status >= 400 && error.status < 500) throw error; // asking again would not help
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function* parsed(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").filter((line) => /^\w/u.test(line)).map((line) => {
        const at = line.indexOf(": ");
        return [line.slice(0, at), line.slice(at + 2)];
      }));
      if (fields.data) yield { type: fields.event, id: fields.id, data: JSON.parse(fields.data) };
    }
  }
}
