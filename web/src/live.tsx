// The live picture: one stream from the hub, reopened when it breaks. Silence of SILENCE_MS counts as a lost hub.

import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import * as hub from "./hub";
import { changed, deviceKey, emptyFleet, fleetOf, withEvents, type Change, type Fleet, type LoggedEvent, type TwinView } from "./model";

const SILENCE_MS = 25_000;
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];
const HISTORY = 60;

export type Link = "connecting" | "live" | "lost";

export interface Live {
  link: Link;
  lostAt: number;
  fleet: Fleet;
  loaded: boolean;
  twins: Record<string, TwinView>;
  histories: Record<string, Record<string, number[]>>;
  events: LoggedEvent[];
  skipped: number;
  show: (devices: string[], events: boolean) => void;
}

const Context = createContext<Live | null>(null);

export function useLive(): Live {
  const live = useContext(Context);
  if (!live) throw new Error("useLive outside of LiveProvider");
  return live;
}

/** Says what this page shows; the hub sends live values and events only while somebody looks. */
export function useShown(devices: string[], events: boolean): void {
  const { show } = useLive();
  const key = devices.join(" ");
  useEffect(() => show(key ? key.split(" ") : [], events), [show, key, events]);
}

function remembered(before: Record<string, number[]> | undefined, twin: TwinView): Record<string, number[]> {
  const found: Record<string, number[]> = {};
  for (const [name, property] of Object.entries(twin.properties ?? {})) {
    if (typeof property.value === "number") found[name] = [...(before?.[name] ?? []), property.value].slice(-HISTORY);
  }
  return found;
}

export function LiveProvider({ csrf, onSignedOut, children }: { csrf: string; onSignedOut: () => void; children: ReactNode }) {
  const [link, setLink] = useState<Link>("connecting");
  const [lostAt, setLostAt] = useState(0);
  const [fleet, setFleet] = useState<Fleet>(emptyFleet);
  const [loaded, setLoaded] = useState(false);
  const [twins, setTwins] = useState<Record<string, TwinView>>({});
  const [histories, setHistories] = useState<Record<string, Record<string, number[]>>>({});
  const [events, setEvents] = useState<LoggedEvent[]>([]);
  const [skipped, setSkipped] = useState(0);
  const wanted = useRef<hub.Wanted>({ stream: "", devices: [], events: false });

  const sendWanted = useCallback(() => {
    // A stream that has just ended opens again, and says what it wants then.
    if (wanted.current.stream) hub.watch(wanted.current, csrf).catch(() => undefined);
  }, [csrf]);

  const show = useCallback(
    (devices: string[], events: boolean) => {
      wanted.current = { ...wanted.current, devices, events };
      sendWanted();
    },
    [sendWanted],
  );

  useEffect(() => {
    let source: EventSource | undefined;
    let silence = 0;
    let retry = 0;
    let attempt = 0;
    let ended = false;

    const lose = () => {
      if (ended) return;
      source?.close();
      window.clearTimeout(silence);
      window.clearTimeout(retry);
      wanted.current.stream = "";
      setLink((before) => {
        if (before === "live") setLostAt(Date.now());
        return "lost";
      });
      retry = window.setTimeout(open, RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)]);
    };
    const heard = () => {
      window.clearTimeout(silence);
      silence = window.setTimeout(lose, SILENCE_MS);
    };
    const signedOut = () => {
      ended = true;
      source?.close();
      onSignedOut();
    };
    const load = () =>
      hub.overview().then((found) => {
        setFleet(fleetOf(found));
        setLoaded(true);
      });

    function on<T>(kind: string, act: (data: T) => void) {
      source?.addEventListener(kind, (message) => {
        heard();
        act(JSON.parse((message as MessageEvent<string>).data) as T);
      });
    }

    const open = () => {
      hub.session().then(
        () => {
          if (!ended) listen();
        },
        (error: unknown) => (error instanceof hub.Refused && error.status === 401 ? signedOut() : lose()),
      );
    };

    const listen = () => {
      source = hub.openStream();
      source.onerror = lose;
      heard();
      on<{ stream: string }>("hello", ({ stream }) => {
        load().then(() => {
          attempt = 0;
          wanted.current.stream = stream;
          sendWanted();
          setLink("live");
        }, lose);
      });
      for (const kind of ["site", "node", "device", "gone"] as const) {
        on<Change["view"]>(kind, (view) => setFleet((before) => changed(before, { kind, view } as Change)));
      }
      on<TwinView>("twin", (twin) => {
        const key = deviceKey(twin);
        setTwins((before) => ({ ...before, [key]: twin.problem ? { ...before[key], ...twin } : twin }));
        if (!twin.problem) setHistories((before) => ({ ...before, [key]: remembered(before[key], twin) }));
      });
      on<{ events: LoggedEvent[]; skipped: number }>("events", (arrived) => {
        setEvents((before) => withEvents(before, arrived.events));
        if (arrived.skipped) setSkipped((before) => before + arrived.skipped);
      });
      on("ping", () => undefined);
      on("reset", () => void load().catch(lose));
      on("signed-out", signedOut);
    };

    open();
    return () => {
      ended = true;
      source?.close();
      window.clearTimeout(silence);
      window.clearTimeout(retry);
    };
  }, [onSignedOut, sendWanted]);

  const live = useMemo(
    () => ({ link, lostAt, fleet, loaded, twins, histories, events, skipped, show }),
    [link, lostAt, fleet, loaded, twins, histories, events, skipped, show],
  );
  return <Context.Provider value={live}>{children}</Context.Provider>;
}
