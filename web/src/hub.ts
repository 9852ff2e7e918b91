// The one place that talks to the hub. A session is a cookie that scripts cannot read; its token for POSTs is kept here.

import type { Overview } from "./model";

export interface Session {
  user: string;
  csrf: string;
  version: string;
}

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const API = "/console/api/";

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  const response = await fetch(API + path, { credentials: "same-origin", redirect: "error", ...init });
  const body = (await response.json().catch(() => ({}))) as { message?: string };
  if (!response.ok) throw new Refused(response.status, body.message ?? `the hub answered ${response.status}`);
  return body as T;
}

function post<T>(path: string, body: unknown, csrf = ""): Promise<T> {
  const headers = { "content-type": "application/json", "x-skerry-csrf": csrf };
  return ask<T>(path, { method: "POST", headers, body: JSON.stringify(body) });
}

export const session = (): Promise<Session> => ask<Session>("session");
export const login = (code: string): Promise<Session> => post<Session>("login", { code });
export const logout = (csrf: string): Promise<unknown> => post("logout", {}, csrf);
export const overview = (): Promise<Overview> => ask<Overview>("overview");

export interface Wanted {
  stream: string;
  devices: string[];
  events: boolean;
}

export const watch = (wanted: Wanted, csrf: string): Promise<unknown> => post("watch", wanted, csrf);

export const openStream = (): EventSource => new EventSource(`${API}stream`, { withCredentials: true });
