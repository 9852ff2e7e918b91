// States as labels: a colour, an icon and a word, so that none of them has to be told by colour alone.

import { Label, Tooltip } from "../patternfly";
import type { Condition, NodeView } from "../model";

type Status = "success" | "warning" | "danger" | "info" | undefined;

function State({ status, word, why }: { status: Status; word: string; why: string }) {
  const label = status ? (
    <Label isCompact status={status}>
      {word}
    </Label>
  ) : (
    <Label isCompact>{word}</Label>
  );
  return why ? (
    <Tooltip content={why}>
      <span tabIndex={0}>{label}</span>
    </Tooltip>
  ) : (
    label
  );
}

const why = (c: Condition): string => [c.reason, c.message].filter(Boolean).join(": ");

export function NodeState({ node }: { node: NodeView }) {
  const { ready } = node;
  if (ready.status !== "True") return <State status="danger" word="NotReady" why={why(ready)} />;
  if (node.cordoned) return <State status="warning" word="Cordoned" why="takes no new Pods" />;
  return <State status="success" word="Ready" why={why(ready)} />;
}

export function Connected({ condition }: { condition: Condition }) {
  if (condition.status === "True") return <State status="success" word="Connected" why={why(condition)} />;
  if (condition.status === "False") return <State status="danger" word="Offline" why={why(condition)} />;
  return <State status={undefined} word="Connection unknown" why={why(condition)} />;
}

/** In sync speaks of one generation of what is wanted; an answer to an older one is no answer. */
export function InSync({ condition, generation }: { condition: Condition; generation: number }) {
  const stale = condition.generation !== undefined && condition.generation < generation;
  if (stale) return <State status="info" word="Pending" why={`the node has not seen generation ${generation} yet`} />;
  if (condition.status === "True") return <State status="success" word="In sync" why={why(condition)} />;
  if (condition.status === "False") return <State status="warning" word="Not in sync" why={why(condition)} />;
  return <State status={undefined} word="Sync unknown" why={why(condition)} />;
}
