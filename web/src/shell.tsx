// The frame around every page: who is signed in, where one can go, and whether the hub is there.

import {
  Alert,
  Button,
  Label,
  Masthead,
  MastheadBrand,
  MastheadContent,
  MastheadLogo,
  MastheadMain,
  MastheadToggle,
  Nav,
  NavItem,
  NavList,
  Page,
  PageSidebar,
  PageSidebarBody,
  PageToggleButton,
  SkipToContent,
  Toolbar,
  ToolbarContent,
  ToolbarGroup,
  ToolbarItem,
} from "./patternfly";
import BarsIcon from "@patternfly/react-icons/dist/esm/icons/bars-icon";
import SignOutAltIcon from "@patternfly/react-icons/dist/esm/icons/sign-out-alt-icon";
import { useEffect, useState, type ReactNode } from "react";
import { clock } from "./format";
import { useLive } from "./live";
import { Wordmark } from "./parts/wordmark";
import { useLink, usePlace } from "./router";

const PAGES = [
  { to: "", name: "Overview" },
  { to: "devices", name: "Devices" },
  { to: "events", name: "Events" },
];

const WIDE = 1200;

// With a listener, PatternFly measures the page and lays the navigation over it where it is narrow.
const noteWidth = () => undefined;

export function Shell({ user, version, onSignOut, children }: { user: string; version: string; onSignOut: () => void; children: ReactNode }) {
  const [open, setOpen] = useState(() => window.innerWidth >= WIDE);
  const { path } = usePlace();
  const place = path.join("/");
  useEffect(() => {
    if (window.innerWidth < WIDE) setOpen(false);
  }, [place]);

  const sidebar = (
    <PageSidebar isSidebarOpen={open}>
      <PageSidebarBody isFilled>
        <Nav aria-label="Pages">
          <NavList>
            {PAGES.map((page) => (
              <PageItem key={page.to} {...page} isActive={(path[0] ?? "") === page.to} />
            ))}
          </NavList>
        </Nav>
      </PageSidebarBody>
      {version && (
        <PageSidebarBody isFilled={false}>
          <small className="sk-quiet">skerry {version}</small>
        </PageSidebarBody>
      )}
    </PageSidebar>
  );

  return (
    <Page
      masthead={<Head user={user} onSignOut={onSignOut} open={open} onToggle={() => setOpen(!open)} />}
      sidebar={sidebar}
      skipToContent={<SkipToContent href="#page">Skip to content</SkipToContent>}
      mainContainerId="page"
      onPageResize={noteWidth}
    >
      <Lost />
      {children}
    </Page>
  );
}

function PageItem({ to, name, isActive }: { to: string; name: string; isActive: boolean }) {
  const { href, onClick } = useLink(to);
  return (
    <NavItem isActive={isActive}>
      <a href={href} onClick={onClick} aria-current={isActive ? "page" : undefined}>
        {name}
      </a>
    </NavItem>
  );
}

function Head({ user, onSignOut, open, onToggle }: { user: string; onSignOut: () => void; open: boolean; onToggle: () => void }) {
  return (
    <Masthead display={{ default: "inline" }}>
      <MastheadMain>
        <MastheadToggle>
          <PageToggleButton variant="plain" aria-label="Navigation" isSidebarOpen={open} onSidebarToggle={onToggle}>
            <BarsIcon />
          </PageToggleButton>
        </MastheadToggle>
        <MastheadBrand>
          <MastheadLogo component="span">
            <Wordmark />
          </MastheadLogo>
        </MastheadBrand>
      </MastheadMain>
      <MastheadContent>
        <Toolbar isStatic>
          <ToolbarContent>
            <ToolbarGroup align={{ default: "alignEnd" }} gap={{ default: "gapSm", md: "gapMd" }}>
              <ToolbarItem>
                <LinkState />
              </ToolbarItem>
              <ToolbarItem visibility={{ default: "hidden", md: "visible" }}>
                <span className="sk-quiet">{user}</span>
              </ToolbarItem>
              <ToolbarItem>
                <Button variant="plain" icon={<SignOutAltIcon />} aria-label="Sign out" title="Sign out" onClick={onSignOut} />
              </ToolbarItem>
            </ToolbarGroup>
          </ToolbarContent>
        </Toolbar>
      </MastheadContent>
    </Masthead>
  );
}

function LinkState() {
  const { link } = useLive();
  if (link === "live") return <Label status="success">Live</Label>;
  if (link === "lost") return <Label status="danger">Hub lost</Label>;
  return <Label>Connecting</Label>;
}

function Lost() {
  const { link, lostAt } = useLive();
  if (link !== "lost" || !lostAt) return null;
  const since = clock(new Date(lostAt).toISOString());
  return (
    <Alert variant="danger" isInline className="sk-lost" title="Connection to the hub lost">
      What you see is from {since}. The console tries again by itself; nodes and devices go on without the hub.
    </Alert>
  );
}
