import { PageSection } from "../patternfly";
import MapIcon from "@patternfly/react-icons/dist/esm/icons/map-icon";
import { Empty } from "../parts/empty";
import { Link } from "../router";

export function NotFoundPage() {
  return (
    <PageSection isFilled>
      <Empty icon={MapIcon} title="There is no such page">
        <Link to="">Go to the overview</Link>
      </Empty>
    </PageSection>
  );
}
