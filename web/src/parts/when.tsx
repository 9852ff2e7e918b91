// Ages that move on. One timer serves the whole page.

import { useSyncExternalStore } from "react";
import { ago, lasting } from "../format";

const EVERY_MS = 1000;
const listeners = new Set<() => void>();
let now = Date.now();
let timer = 0;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  if (!timer) {
    timer = window.setInterval(() => {
      now = Date.now();
      listeners.forEach((l) => l());
    }, EVERY_MS);
  }
  return () => {
    listeners.delete(listener);
    if (!listeners.size) {
      window.clearInterval(timer);
      timer = 0;
    }
  };
}

export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

/** How long it has been so. */
export function Lasting({ since }: { since: string | undefined }) {
  return <time dateTime={since}>{lasting(since, useNow()) || "an unknown time"}</time>;
}

export function Ago({ time, never = "never" }: { time: string | undefined; never?: string }) {
  const text = ago(time, useNow());
  return <time dateTime={time} title={time ? new Date(time).toLocaleString() : undefined}>{text || never}</time>;
}
