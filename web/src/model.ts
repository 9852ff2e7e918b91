// What the hub sends (src/skerry/console/views.py), and how a page's picture of it moves on. No I/O here.

export interface Condition {
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  since: string;
  generation?: number;
}

export interface NodeView {
  name: string;
  site: string;
  ready: Condition;
  cordoned: boolean;
  created: string;
  version: string;
  system: string;
  architecture: string;
  address: string;
  runtimes: string[];
  problems: { type: string; message: string }[];
  pods: number;
  runningPods: number;
}

export interface SiteView {
  name: string;
  displayName: string;
  address: string;
  longestOutage: string;
}

export interface Acknowledgement {
  code: string;
  generation?: number;
  message?: string;
}

export interface Property {
  value?: unknown;
  at?: string;
  quality?: string;
  detail?: string;
  unit?: string;
  type?: string;
  access?: string;
  desired?: unknown;
  ack?: Acknowledgement;
}

export interface DeviceView {
  namespace: string;
  name: string;
  profile: string;
  node: string;
  site: string;
  protocol: string;
  connected: Condition;
  inSync: Condition;
  generation: number;
  observedGeneration: number;
  lastSeen: string;
  desired: Record<string, unknown>;
  properties: Record<string, Property>;
  created: string;
}

export interface TwinView {
  namespace: string;
  name: string;
  problem?: string;
  lastSeen?: string;
  connected?: Condition;
  inSync?: Condition;
  observedGeneration?: number;
  properties?: Record<string, Property>;
}

export interface CloudEvent {
  id: string;
  type: string;
  source: string;
  subject?: string;
  time?: string;
  data?: unknown;
  [attribute: string]: unknown;
}

export interface LoggedEvent {
  sequence: number;
  node: string;
  event: CloudEvent;
}

export interface Overview {
  sites: SiteView[];
  nodes: NodeView[];
  devices: DeviceView[];
}

export interface Fleet {
  sites: Record<string, SiteView>;
  nodes: Record<string, NodeView>;
  devices: Record<string, DeviceView>;
}

export const emptyFleet: Fleet = { sites: {}, nodes: {}, devices: {} };

export const deviceKey = (d: { namespace: string; name: string }): string => `${d.namespace}/${d.name}`;

export function fleetOf(overview: Overview): Fleet {
  return {
    sites: Object.fromEntries(overview.sites.map((s) => [s.name, s])),
    nodes: Object.fromEntries(overview.nodes.map((n) => [n.name, n])),
    devices: Object.fromEntries(overview.devices.map((d) => [deviceKey(d), d])),
  };
}

export type Change =
  | { kind: "site"; view: SiteView }
  | { kind: "node"; view: NodeView }
  | { kind: "device"; view: DeviceView }
  | { kind: "gone"; view: { kind: "site" | "node" | "device"; key: string } };

export function changed(fleet: Fleet, change: Change): Fleet {
  switch (change.kind) {
    case "site":
      return { ...fleet, sites: { ...fleet.sites, [change.view.name]: change.view } };
    case "node":
      return { ...fleet, nodes: { ...fleet.nodes, [change.view.name]: change.view } };
    case "device":
      return { ...fleet, devices: { ...fleet.devices, [deviceKey(change.view)]: change.view } };
    case "gone": {
      const kept = <T,>(views: Record<string, T>): Record<string, T> =>
        Object.fromEntries(Object.entries(views).filter(([key]) => key !== change.view.key));
      switch (change.view.kind) {
        case "site":
          return { ...fleet, sites: kept(fleet.sites) };
        case "node":
          return { ...fleet, nodes: kept(fleet.nodes) };
        case "device":
          return { ...fleet, devices: kept(fleet.devices) };
      }
    }
  }
}

export const MOST_EVENTS = 500;

/** Newest first, each once, at most MOST_EVENTS. */
export function withEvents(present: LoggedEvent[], arrived: LoggedEvent[]): LoggedEvent[] {
  const newest = present[0]?.sequence ?? -1;
  const fresh = arrived.filter((e) => e.sequence > newest).reverse();
  return fresh.length ? [...fresh, ...present].slice(0, MOST_EVENTS) : present;
}

/** The words of a filter must all stand in the event, in any case. */
export function matches(entry: LoggedEvent, filter: string): boolean {
  const text = JSON.stringify(entry).toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

export interface SiteGroup {
  key: string;
  site?: SiteView;
  nodes: NodeView[];
  devices: DeviceView[];
}

/** Nodes by site, sites by name, those without a site last. */
export function bySite(fleet: Fleet): SiteGroup[] {
  const groups = new Map<string, SiteGroup>();
  const group = (key: string): SiteGroup => {
    const found = groups.get(key) ?? { key, site: fleet.sites[key], nodes: [], devices: [] };
    groups.set(key, found);
    return found;
  };
  Object.keys(fleet.sites).forEach(group);
  Object.values(fleet.nodes).forEach((n) => group(n.site).nodes.push(n));
  Object.values(fleet.devices).forEach((d) => group(d.site).devices.push(d));
  for (const g of groups.values()) g.nodes.sort((a, b) => a.name.localeCompare(b.name));
  return [...groups.values()].sort((a, b) => Number(!a.key) - Number(!b.key) || a.key.localeCompare(b.key));
}
