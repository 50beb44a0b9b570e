// The service's HTTP API. Whatever goes wrong is an ApiError with the service's own message.

import { recall, remember } from "./dom.js";

const KEY = "polygrain-key";

export class ApiError extends Error {
  constructor(status, { code = null, message, param = null }, title = null) {
    super(message);
    Object.assign(this, { status, code, param, title });
  }
}

let onKeyWanted = () => {};
export const whenKeyWanted = (ask) => { onKeyWanted = ask; };
export const usesKey = () => recall(KEY, "sessionStorage") !== null;
export const useKey = (key) => remember(KEY, key, "sessionStorage");

function headersFor(extra = {}) {
  const key = recall(KEY, "sessionStorage");
  return key ? { ...extra, Authorization: `Bearer ${key}` } : extra;
}

// The response of a request that succeeded; raises ApiError for all else.
export async function send(method, path, { body, headers, signal } = {}) {
  let response;
  try {
    response = await fetch(path, { method, body, signal, headers: headersFor(headers) });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new ApiError(0, { message: "No answer came. Check that the service still runs, then try again." },
      "The service cannot be reached");
  }
  if (response.ok) return response;
  if (response.status === 401) onKeyWanted();
  let error;
  try {
    ({ error } = await response.json());
  } catch {
    error = { message: `${method} ${path} was answered with status ${response.status}.` };
  }
  throw new ApiError(response.status, error);
}

// JSON in, JSON out.
export async function call(method, path, value, options = {}) {
  const json = value === undefined ? {} : {
    body: JSON.stringify(value), headers: { "Content-Type": "application/json" },
  };
  const response = await send(method, path, { ...json, ...options });
  return response.status === 204 ? null : response.json();
}

// What `work` makes of an endpoint; null where this service does not have it.
export async function ifOffered(work) {
  try {
    return await work();
  } catch (error) {
    if (error.status === 404 || error.status === 405) return null;
    throw error;
  }
}
