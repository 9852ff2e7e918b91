// All devices, with what they measure now.

import {
  Content,
  MenuToggle,
  PageSection,
  SearchInput,
  Select,
  SelectList,
  SelectOption,
  Title,
  Toolbar,
  ToolbarContent,
  ToolbarItem,
} from "../patternfly";
import CubesIcon from "@patternfly/react-icons/dist/esm/icons/cubes-icon";
import SearchIcon from "@patternfly/react-icons/dist/esm/icons/search-icon";
import { Table, Tbody, Td, Th, Thead, Tr } from "@patternfly/react-table";
import { useMemo, useState } from "react";
import { plural, shown, unitShown } from "../format";
import { useLive, useShown } from "../live";
import { deviceKey, type DeviceView, type Property } from "../model";
import { Empty } from "../parts/empty";
import { Connected, InSync } from "../parts/state";
import { Ago } from "../parts/when";
import { Link } from "../router";

const FOLLOWED = 50;
const VALUES = 3;

const STATES = {
  all: { name: "All devices", fits: () => true },
  offline: { name: "Not connected", fits: (d: DeviceView) => d.connected.status !== "True" },
  drifting: { name: "Not in sync", fits: (d: DeviceView) => d.inSync.status !== "True" },
} as const;

type StateName = keyof typeof STATES;

export function DevicesPage() {
  const { fleet, loaded } = useLive();
  const [words, setWords] = useState("");
  const [state, setState] = useState<StateName>("all");
  const devices = useMemo(() => sorted(Object.values(fleet.devices)), [fleet.devices]);
  const found = devices.filter((d) => STATES[state].fits(d) && fits(d, words));
  const followed = useMemo(() => found.slice(0, FOLLOWED).map(deviceKey), [found.map(deviceKey).join(" ")]); // eslint-disable-line
  useShown(followed, false);

  return (
    <>
      <PageSection>
        <Title headingLevel="h1">Devices</Title>
      </PageSection>
      <PageSection isFilled>
        {loaded && !devices.length ? (
          <Empty icon={CubesIcon} title="No devices yet">
            Describe one with a DeviceProfile and a Device: <code>kubectl apply -f device.yaml</code>
          </Empty>
        ) : (
          <>
            <Toolbar>
              <ToolbarContent>
                <ToolbarItem className="sk-search">
                  <SearchInput
                    aria-label="Find devices"
                    placeholder="Name, profile, node, site"
                    value={words}
                    onChange={(_, value) => setWords(value)}
                    onClear={() => setWords("")}
                  />
                </ToolbarItem>
                <ToolbarItem>
                  <StateFilter state={state} onChange={setState} />
                </ToolbarItem>
                <ToolbarItem alignSelf="center">
                  <Content component="small" className="sk-quiet">
                    {plural(found.length, "device")}
                  </Content>
                </ToolbarItem>
              </ToolbarContent>
            </Toolbar>
            {found.length ? <DeviceTable devices={found} /> : loaded && <NothingFound />}
          </>
        )}
      </PageSection>
    </>
  );
}

const sorted = (devices: DeviceView[]): DeviceView[] => devices.sort((a, b) => deviceKey(a).localeCompare(deviceKey(b)));

function fits(device: DeviceView, words: string): boolean {
  const text = [device.namespace, device.name, device.profile, device.node, device.site, device.protocol].join(" ").toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

function NothingFound() {
  return (
    <Empty icon={SearchIcon} title="No device is like that">
      Change the words or the filter.
    </Empty>
  );
}

function StateFilter({ state, onChange }: { state: StateName; onChange: (state: StateName) => void }) {
  const [open, setOpen] = useState(false);
  return (
    <Select
      isOpen={open}
      selected={state}
      onSelect={(_, value) => {
        onChange(value as StateName);
        setOpen(false);
      }}
      onOpenChange={setOpen}
      toggle={(ref) => (
        <MenuToggle ref={ref} onClick={() => setOpen(!open)} isExpanded={open}>
          {STATES[state].name}
        </MenuToggle>
      )}
    >
      <SelectList>
        {Object.entries(STATES).map(([key, { name }]) => (
          <SelectOption key={key} value={key}>
            {name}
          </SelectOption>
        ))}
      </SelectList>
    </Select>
  );
}

function DeviceTable({ devices }: { devices: DeviceView[] }) {
  return (
    <Table aria-label="Devices" variant="compact">
      <Thead>
        <Tr>
          <Th width={20}>Name</Th>
          <Th>Connected</Th>
          <Th>In sync</Th>
          <Th>Values</Th>
          <Th modifier="nowrap">Site, node</Th>
          <Th modifier="nowrap">Last seen</Th>
        </Tr>
      </Thead>
      <Tbody>
        {devices.map((device) => (
          <DeviceRow key={deviceKey(device)} device={device} />
        ))}
      </Tbody>
    </Table>
  );
}

function DeviceRow({ device }: { device: DeviceView }) {
  const { twins } = useLive();
  const twin = twins[deviceKey(device)];
  const live = twin && !twin.problem ? twin : undefined;
  return (
    <Tr data-device={deviceKey(device)}>
      <Td dataLabel="Name">
        <div>
          <Link to={`devices/${device.namespace}/${device.name}`}>
            <strong>{device.name}</strong>
          </Link>
          <div className="sk-quiet sk-small">
            {device.profile} · {device.namespace}
          </div>
        </div>
      </Td>
      <Td dataLabel="Connected">
        <Connected condition={live?.connected ?? device.connected} />
      </Td>
      <Td dataLabel="In sync">
        <InSync condition={live?.inSync ?? device.inSync} generation={device.generation} />
      </Td>
      <Td dataLabel="Values">
        <Values properties={live?.properties ?? device.properties} live={live !== undefined} />
      </Td>
      <Td dataLabel="Site, node" modifier="nowrap">
        <div>
          {device.site || "–"}
          <div className="sk-quiet sk-small">{device.node || "no node yet"}</div>
        </div>
      </Td>
      <Td dataLabel="Last seen" modifier="nowrap">
        <Ago time={live?.lastSeen || device.lastSeen} />
      </Td>
    </Tr>
  );
}

function Values({ properties, live }: { properties: Record<string, Property>; live: boolean }) {
  const known = Object.entries(properties).filter(([, p]) => p.value !== undefined);
  if (!known.length) return <span className="sk-quiet">–</span>;
  return (
    <div className={live ? "sk-values" : "sk-values sk-quiet"} title={live ? "live from the node" : "the last summary"}>
      {known.slice(0, VALUES).map(([name, p]) => (
        <span key={name} className="sk-value">
          <span className="sk-quiet sk-small">{name}</span> <b>{shown(p.value)}</b>
          {p.unit && <span className="sk-small"> {unitShown(p.unit)}</span>}
        </span>
      ))}
      {known.length > VALUES && <span className="sk-quiet sk-small">+{known.length - VALUES}</span>}
    </div>
  );
}
