// One device: what it reports now, what it should be, and how far these are apart.

import {
  Alert,
  Breadcrumb,
  BreadcrumbItem,
  Card,
  CardBody,
  DescriptionList,
  DescriptionListDescription,
  DescriptionListGroup,
  DescriptionListTerm,
  Flex,
  Label,
  PageSection,
  Title,
  Tooltip,
} from "../patternfly";
import CubesIcon from "@patternfly/react-icons/dist/esm/icons/cubes-icon";
import { Table, Tbody, Td, Th, Thead, Tr } from "@patternfly/react-table";
import { useMemo } from "react";
import { shown, sparkline, unitShown } from "../format";
import { useLive, useShown } from "../live";
import type { DeviceView, Property } from "../model";
import { Empty } from "../parts/empty";
import { Connected, InSync } from "../parts/state";
import { Ago } from "../parts/when";
import { Link } from "../router";

export function DevicePage({ namespace, name }: { namespace: string; name: string }) {
  const { fleet, loaded, twins, histories } = useLive();
  const key = `${namespace}/${name}`;
  useShown(useMemo(() => [key], [key]), false);
  const device = fleet.devices[key];
  const twin = twins[key];

  if (!device) {
    return loaded ? (
      <PageSection isFilled>
        <Empty icon={CubesIcon} title={`There is no device ${key}`}>
          <Link to="devices">All devices</Link>
        </Empty>
      </PageSection>
    ) : null;
  }
  const live = twin && !twin.problem ? twin : undefined;
  const properties = merged(device, live?.properties);
  return (
    <>
      <PageSection>
        <Breadcrumb>
          <BreadcrumbItem>
            <Link to="devices">Devices</Link>
          </BreadcrumbItem>
          <BreadcrumbItem isActive>{name}</BreadcrumbItem>
        </Breadcrumb>
        <Flex alignItems={{ default: "alignItemsCenter" }} columnGap={{ default: "columnGapMd" }} className="sk-heading">
          <Title headingLevel="h1">{name}</Title>
          <Connected condition={live?.connected ?? device.connected} />
          <InSync condition={live?.inSync ?? device.inSync} generation={device.generation} />
        </Flex>
      </PageSection>
      {twin?.problem && (
        <PageSection>
          <Alert isInline isPlain variant="warning" title={`No live values: ${twin.problem}`}>
            The values are from the last summary.
          </Alert>
        </PageSection>
      )}
      <PageSection>
        <Facts device={device} lastSeen={live?.lastSeen || device.lastSeen} />
      </PageSection>
      <PageSection isFilled>
        <Card>
          <CardBody>
            <PropertyTable properties={properties} histories={histories[key] ?? {}} live={live !== undefined} />
          </CardBody>
        </Card>
      </PageSection>
    </>
  );
}

/** Live values where there are any, the summary otherwise, and what is wanted in any case. */
function merged(device: DeviceView, live: Record<string, Property> | undefined): [string, Property][] {
  const base = live ?? device.properties;
  const names = new Set([...Object.keys(base), ...Object.keys(device.desired)]);
  return [...names].sort().map((name) => [name, { ...base[name], ...(name in device.desired ? { desired: device.desired[name] } : {}) }]);
}

function Facts({ device, lastSeen }: { device: DeviceView; lastSeen: string }) {
  const facts: [string, React.ReactNode][] = [
    ["Profile", device.profile],
    ["Site", device.site || "–"],
    ["Node", device.node || "no node yet"],
    ["Protocol", device.protocol || "–"],
    ["Namespace", device.namespace],
    ["Last seen", <Ago key="seen" time={lastSeen} />],
  ];
  return (
    <DescriptionList isCompact columnModifier={{ default: "2Col", md: "3Col", xl: "3Col" }}>
      {facts.map(([term, value]) => (
        <DescriptionListGroup key={term}>
          <DescriptionListTerm>{term}</DescriptionListTerm>
          <DescriptionListDescription>{value}</DescriptionListDescription>
        </DescriptionListGroup>
      ))}
    </DescriptionList>
  );
}

function PropertyTable({ properties, histories, live }: { properties: [string, Property][]; histories: Record<string, number[]>; live: boolean }) {
  if (!properties.length) return <span className="sk-quiet">Nothing was reported yet.</span>;
  return (
    <Table aria-label="Properties" variant="compact" borders>
      <Thead>
        <Tr>
          <Th>Property</Th>
          <Th>Value</Th>
          <Th>Trend</Th>
          <Th>Desired</Th>
          <Th>Quality</Th>
          <Th>Read</Th>
        </Tr>
      </Thead>
      <Tbody>
        {properties.map(([name, p]) => (
          <Tr key={name} data-property={name}>
            <Td dataLabel="Property">{name}</Td>
            <Td dataLabel="Value">
              <div>
                <span className={live ? "sk-reading" : "sk-reading sk-quiet"}>{shown(p.value)}</span> <span className="sk-quiet">{unitShown(p.unit)}</span>
              </div>
            </Td>
            <Td dataLabel="Trend">
              <Trend values={histories[name] ?? []} />
            </Td>
            <Td dataLabel="Desired">
              <Desired property={p} />
            </Td>
            <Td dataLabel="Quality">
              <Quality property={p} />
            </Td>
            <Td dataLabel="Read">
              <Ago time={p.at} never="–" />
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  );
}

function Trend({ values }: { values: number[] }) {
  const points = sparkline(values, 120, 28);
  if (!points) return <span className="sk-quiet">–</span>;
  return (
    <svg className="sk-trend" width="120" height="28" viewBox="0 0 120 28" role="img" aria-label={`the last ${values.length} values`}>
      <polyline points={points} />
    </svg>
  );
}

const CODES: Record<string, "success" | "danger" | "warning" | "info"> = {
  Accepted: "success",
  Rejected: "danger",
  Failed: "warning",
  Pending: "info",
};

function Desired({ property }: { property: Property }) {
  if (property.desired === undefined) return <span className="sk-quiet">–</span>;
  const { ack } = property;
  return (
    <div>
      {shown(property.desired)} {unitShown(property.unit)}{" "}
      {ack && (
        <Tooltip content={ack.message || `generation ${ack.generation ?? "?"}`}>
          <Label isCompact status={CODES[ack.code] ?? "info"}>
            {ack.code}
          </Label>
        </Tooltip>
      )}
    </div>
  );
}

function Quality({ property }: { property: Property }) {
  if (!property.quality) return <span className="sk-quiet">–</span>;
  if (property.quality === "Good") return <>Good</>;
  const label = (
    <Label isCompact status={property.quality === "Bad" ? "danger" : "warning"}>
      {property.quality}
    </Label>
  );
  return property.detail ? <Tooltip content={property.detail}>{label}</Tooltip> : label;
}
