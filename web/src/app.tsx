import { Bullseye, Spinner } from "./patternfly";
import { useCallback, useEffect, useState } from "react";
import * as hub from "./hub";
import { LiveProvider } from "./live";
import { DevicePage } from "./pages/device";
import { DevicesPage } from "./pages/devices";
import { EventsPage } from "./pages/events";
import { LoginPage } from "./pages/login";
import { NotFoundPage } from "./pages/notfound";
import { OverviewPage } from "./pages/overview";
import { Router, usePlace } from "./router";
import { Shell } from "./shell";

type State = { at: "asking" } | { at: "out"; reason: string } | { at: "in"; session: hub.Session };

export function App() {
  const [state, setState] = useState<State>({ at: "asking" });

  useEffect(() => {
    hub.session().then(
      (session) => setState({ at: "in", session }),
      (error: unknown) => setState({ at: "out", reason: error instanceof hub.Refused && error.status === 401 ? "" : String(error) }),
    );
  }, []);
  const onSignedOut = useCallback(() => setState({ at: "out", reason: "You were signed out." }), []);

  if (state.at === "asking") {
    return (
      <Bullseye className="sk-full">
        <Spinner aria-label="Asking the hub" />
      </Bullseye>
    );
  }
  if (state.at === "out") return <LoginPage reason={state.reason} onSignedIn={(session) => setState({ at: "in", session })} />;
  const { session } = state;
  const leave = () => void hub.logout(session.csrf).finally(() => setState({ at: "out", reason: "" }));
  return (
    <LiveProvider csrf={session.csrf} onSignedOut={onSignedOut}>
      <Router>
        <Shell user={session.user} version={session.version} onSignOut={leave}>
          <CurrentPage />
        </Shell>
      </Router>
    </LiveProvider>
  );
}

function CurrentPage() {
  const { path } = usePlace();
  const [page, namespace, name] = path;
  if (!page) return <OverviewPage />;
  if (page === "devices" && namespace && name && path.length === 3) return <DevicePage namespace={namespace} name={name} />;
  if (page === "devices" && path.length === 1) return <DevicesPage />;
  if (page === "events" && path.length === 1) return <EventsPage />;
  return <NotFoundPage />;
}
