// Where everything is: places, the nodes there, and what is wrong with them.

import { Bullseye, Card, CardBody, CardHeader, CardTitle, Content, Gallery, Label, PageSection, Spinner, Title } from "../patternfly";
import MapMarkerAltIcon from "@patternfly/react-icons/dist/esm/icons/map-marker-alt-icon";
import ServerIcon from "@patternfly/react-icons/dist/esm/icons/server-icon";
import { plural } from "../format";
import { useLive, useShown } from "../live";
import { bySite, type Condition, type NodeView, type SiteGroup } from "../model";
import { Empty } from "../parts/empty";
import { NodeState } from "../parts/state";
import { Lasting } from "../parts/when";
import { Link } from "../router";

const NOTHING: string[] = [];

export function OverviewPage() {
  const { fleet, loaded } = useLive();
  useShown(NOTHING, false);
  const groups = bySite(fleet);
  if (!loaded) {
    return (
      <Bullseye>
        <Spinner aria-label="Loading" />
      </Bullseye>
    );
  }
  return (
    <>
      <PageSection>
        <Title headingLevel="h1">Overview</Title>
      </PageSection>
      <PageSection>
        <Summary />
      </PageSection>
      <PageSection isFilled>
        {groups.length ? (
          <Gallery hasGutter minWidths={{ default: "100%", sm: "320px" }}>
            {groups.map((group) => (
              <SiteCard key={group.key} group={group} />
            ))}
          </Gallery>
        ) : (
          <Empty icon={ServerIcon} title="No nodes yet">
            Make a token with <code>skerry hub token</code> and type <code>skerry node join</code> on a machine.
          </Empty>
        )}
      </PageSection>
    </>
  );
}

function Summary() {
  const { fleet } = useLive();
  const nodes = Object.values(fleet.nodes);
  const devices = Object.values(fleet.devices);
  const ready = nodes.filter((n) => n.ready.status === "True").length;
  const connected = devices.filter((d) => d.connected.status === "True").length;
  const inSync = devices.filter((d) => d.inSync.status === "True").length;
  const pods = nodes.reduce((sum, n) => sum + n.pods, 0);
  const running = nodes.reduce((sum, n) => sum + n.runningPods, 0);
  return (
    <Gallery hasGutter minWidths={{ default: "140px", md: "200px" }}>
      <Figure name="Nodes ready" value={ready} of={nodes.length} />
      <Figure name="Pods running" value={running} of={pods} />
      <Figure name="Devices connected" value={connected} of={devices.length} to="devices" />
      <Figure name="Devices in sync" value={inSync} of={devices.length} to="devices" />
    </Gallery>
  );
}

function Figure({ name, value, of, to }: { name: string; value: number; of: number; to?: string }) {
  const title = to === undefined ? name : <Link to={to}>{name}</Link>;
  return (
    <Card isCompact className={value < of ? "sk-figure sk-figure--short" : "sk-figure"}>
      <CardBody>
        <div className="sk-figure-value">
          {value}
          <span className="sk-quiet"> / {of}</span>
        </div>
        <div>{title}</div>
      </CardBody>
    </Card>
  );
}

function SiteCard({ group }: { group: SiteGroup }) {
  const { site, nodes, devices } = group;
  const ready = nodes.filter((n) => n.ready.status === "True").length;
  const name = site?.displayName || group.key || "No site";
  const state = !nodes.length ? undefined : ready === nodes.length ? "success" : ready ? "warning" : "danger";
  return (
    <Card className="sk-site" isFullHeight>
      <CardHeader
        actions={{
          actions: (
            <Label isCompact {...(state ? { status: state } : {})}>
              {ready} / {nodes.length} ready
            </Label>
          ),
          hasNoOffset: true,
        }}
      >
        <CardTitle component="h2">
          <span className="sk-site-title">
            {group.key && <MapMarkerAltIcon className="sk-quiet" />} {name}
          </span>
        </CardTitle>
        <Content component="small" className="sk-quiet">
          {[site?.displayName && group.key, site?.address, plural(devices.length, "device")].filter(Boolean).join(" · ")}
        </Content>
      </CardHeader>
      <CardBody>
        {nodes.length ? (
          <ul className="sk-nodes">
            {nodes.map((node) => (
              <NodeRow key={node.name} node={node} />
            ))}
          </ul>
        ) : (
          <span className="sk-quiet">No node has joined here yet.</span>
        )}
      </CardBody>
    </Card>
  );
}

function Trouble({ ready }: { ready: Condition }) {
  if (ready.status === "False") return <>{ready.message || ready.reason || "it says so itself"}</>;
  return (
    <>
      not heard for <Lasting since={ready.since} />; what runs there goes on
    </>
  );
}

function NodeRow({ node }: { node: NodeView }) {
  const facts = [node.address, node.runtimes.join(", "), node.version].filter(Boolean).join(" · ");
  return (
    <li className="sk-node" data-node={node.name}>
      <div className="sk-node-head">
        <strong>{node.name}</strong>
        <NodeState node={node} />
        <span className="sk-node-pods">{plural(node.runningPods, "pod")}</span>
      </div>
      <div className="sk-quiet sk-small">
        {node.ready.status === "True" ? facts : <Trouble ready={node.ready} />}
      </div>
      {node.problems.map((p) => (
        <div key={p.type} className="sk-small">
          <Label isCompact status="warning">
            {p.type}
          </Label>{" "}
          {p.message}
        </div>
      ))}
    </li>
  );
}
