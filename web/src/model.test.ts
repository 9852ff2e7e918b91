import { describe, expect, it } from "vitest";
import { ago, lasting, shown, sparkline } from "./format";
import { bySite, changed, emptyFleet, matches, MOST_EVENTS, withEvents, type LoggedEvent, type NodeView, type SiteView } from "./model";

const logged = (sequence: number, data: unknown = {}): LoggedEvent => ({
  sequence,
  node: "a",
  event: { id: String(sequence), type: "t", source: "/s", data },
});

const node = (name: string, site: string): NodeView => ({ name, site }) as NodeView;

describe("events", () => {
  it("are newest first, each once, and not more than fit", () => {
    const many = Array.from({ length: MOST_EVENTS }, (_, i) => logged(i + 1));
    const first = withEvents([], many);
    const second = withEvents(first, [logged(MOST_EVENTS), logged(MOST_EVENTS + 1)]);

    expect(second[0]?.sequence).toBe(MOST_EVENTS + 1);
    expect(second).toHaveLength(MOST_EVENTS);
    expect(new Set(second.map((e) => e.sequence)).size).toBe(MOST_EVENTS);
    expect(withEvents(second, [])).toBe(second);
  });

  it("match when all words stand in them", () => {
    expect(matches(logged(1, { text: "Leak found" }), "leak FOUND")).toBe(true);
    expect(matches(logged(1, { text: "Leak found" }), "leak lost")).toBe(false);
    expect(matches(logged(1), "")).toBe(true);
  });
});

describe("the fleet", () => {
  it("follows changes and forgets what is gone", () => {
    const one = changed(emptyFleet, { kind: "node", view: node("a", "dock") });
    const none = changed(one, { kind: "gone", view: { kind: "node", key: "a" } });

    expect(Object.keys(one.nodes)).toEqual(["a"]);
    expect(none.nodes).toEqual({});
    expect(emptyFleet.nodes).toEqual({});
  });

  it("is grouped by site, those without one last", () => {
    const fleet = {
      sites: { quay: { name: "quay" } as SiteView },
      nodes: { b: node("b", ""), c: node("c", "dock"), a: node("a", "dock") },
      devices: {},
    };

    expect(bySite(fleet).map((g) => [g.key, g.nodes.map((n) => n.name)])).toEqual([
      ["dock", ["a", "c"]],
      ["quay", []],
      ["", ["b"]],
    ]);
  });
});

describe("writing", () => {
  const now = Date.parse("2026-01-05T10:00:00Z");

  it("tells ages in one unit", () => {
    expect(ago("2026-01-05T09:59:59Z", now)).toBe("now");
    expect(ago("2026-01-05T09:59:15Z", now)).toBe("45 s ago");
    expect(ago("2026-01-05T09:30:00Z", now)).toBe("30 min ago");
    expect(ago("2026-01-04T10:00:00Z", now)).toBe("24 h ago");
    expect(ago("", now)).toBe("");
    expect(lasting("2026-01-01T10:00:00Z", now)).toBe("4 d");
  });

  it("keeps values short and readable", () => {
    expect([1 / 3, 42, true, "auto", undefined, { a: 1 }].map(shown)).toEqual(["0.33333", "42", "on", "auto", "–", '{"a":1}']);
  });

  it("draws a line only through two points or more", () => {
    expect(sparkline([1], 10, 10)).toBe("");
    expect(sparkline([0, 1], 10, 10)).toBe("0.0,8.0 10.0,2.0");
    expect(sparkline([5, 5], 10, 10)).toBe("0.0,8.0 10.0,8.0");
  });
});
