// What comes in: samples and device events, newest first. Pausing stops the list, not the events.

import {
  Button,
  Card,
  CardBody,
  CodeBlock,
  CodeBlockCode,
  Content,
  Label,
  PageSection,
  SearchInput,
  Title,
  ToggleGroup,
  ToggleGroupItem,
  Toolbar,
  ToolbarContent,
  ToolbarItem,
} from "../patternfly";
import ListIcon from "@patternfly/react-icons/dist/esm/icons/list-icon";
import PauseIcon from "@patternfly/react-icons/dist/esm/icons/pause-icon";
import PlayIcon from "@patternfly/react-icons/dist/esm/icons/play-icon";
import { useState } from "react";
import { clock, plural, shortType } from "../format";
import { useLive, useShown } from "../live";
import { matches, type LoggedEvent } from "../model";
import { Empty } from "../parts/empty";

const NOTHING: string[] = [];
const SHOWN = 200;
const SAMPLE = "dev.skerry.device.sample";

export function EventsPage() {
  const { events, skipped } = useLive();
  useShown(NOTHING, true);
  const [paused, setPaused] = useState<LoggedEvent[] | null>(null);
  const [filter, setFilter] = useState("");
  const [samples, setSamples] = useState(true);
  const all = paused ?? events;
  const found = all.filter((e) => (samples || e.event.type !== SAMPLE) && matches(e, filter)).slice(0, SHOWN);
  const waiting = paused ? events.filter((e) => e.sequence > (paused[0]?.sequence ?? -1)).length : 0;

  return (
    <>
      <PageSection>
        <Title headingLevel="h1">Events</Title>
      </PageSection>
      <PageSection isFilled>
        <Toolbar>
          <ToolbarContent>
            <ToolbarItem>
              <Button
                variant={paused ? "primary" : "secondary"}
                icon={paused ? <PlayIcon /> : <PauseIcon />}
                onClick={() => setPaused(paused ? null : events)}
              >
                {paused ? `Resume${waiting ? ` (${waiting} new)` : ""}` : "Pause"}
              </Button>
            </ToolbarItem>
            <ToolbarItem className="sk-search">
              <SearchInput
                aria-label="Filter events"
                placeholder="Words in the event"
                value={filter}
                onChange={(_, value) => setFilter(value)}
                onClear={() => setFilter("")}
              />
            </ToolbarItem>
            <ToolbarItem>
              <ToggleGroup aria-label="Kinds of events">
                <ToggleGroupItem text="All" buttonId="all" isSelected={samples} onChange={() => setSamples(true)} />
                <ToggleGroupItem text="Without samples" buttonId="nosamples" isSelected={!samples} onChange={() => setSamples(false)} />
              </ToggleGroup>
            </ToolbarItem>
            <ToolbarItem alignSelf="center">
              <Content component="small" className="sk-quiet">
                {plural(found.length, "event")} shown{skipped ? `, ${skipped} came too fast to show` : ""}
              </Content>
            </ToolbarItem>
          </ToolbarContent>
        </Toolbar>
        {found.length ? (
          <Card isCompact>
            <CardBody className="sk-events">
              {found.map((entry) => (
                <EventRow key={entry.sequence} entry={entry} />
              ))}
            </CardBody>
          </Card>
        ) : (
          <Empty icon={ListIcon} title={all.length ? "No event is like that" : "No events yet"}>
            {all.length ? "Change the words or the kinds." : "They appear here as devices send them."}
          </Empty>
        )}
      </PageSection>
    </>
  );
}

function EventRow({ entry }: { entry: LoggedEvent }) {
  const [open, setOpen] = useState(false);
  const { event } = entry;
  const sample = event.type === SAMPLE;
  return (
    <div className="sk-event">
      <button type="button" className="sk-event-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span className="sk-event-time sk-quiet">{clock(event.time)}</span>
        <Label isCompact color={sample ? "grey" : "orange"}>
          {shortType(event.type)}
        </Label>
        <span className="sk-event-source">{source(entry)}</span>
        <span className="sk-event-data">{brief(event.data)}</span>
      </button>
      {open && (
        <CodeBlock>
          <CodeBlockCode>{JSON.stringify({ sequence: entry.sequence, node: entry.node, ...event }, null, 2)}</CodeBlockCode>
        </CodeBlock>
      )}
    </div>
  );
}

function source({ event, node }: LoggedEvent): string {
  const device = event["devicename"];
  const place = typeof device === "string" ? `${String(event["devicenamespace"] ?? "")}/${device}` : event.source;
  return [place, event.subject, `on ${node}`].filter(Boolean).join(" · ");
}

function brief(data: unknown): string {
  if (data === undefined) return "";
  if (typeof data === "object" && data !== null && !Array.isArray(data)) {
    return Object.entries(data)
      .map(([k, v]) => `${k} ${typeof v === "number" ? Number(v.toPrecision(5)) : JSON.stringify(v)}`)
      .join("   ");
  }
  return JSON.stringify(data);
}
