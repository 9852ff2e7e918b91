import { EmptyState, EmptyStateBody } from "../patternfly";
import type { ComponentType, ReactNode } from "react";

export function Empty({ icon, title, children }: { icon: ComponentType; title: string; children: ReactNode }) {
  return (
    <EmptyState headingLevel="h2" icon={icon} titleText={title} variant="sm">
      <EmptyStateBody>{children}</EmptyStateBody>
    </EmptyState>
  );
}
