// Pages by path below /console/, with the browser's history. Small enough not to need a library.

import { createContext, useCallback, useContext, useEffect, useState, type MouseEvent, type ReactNode } from "react";

const BASE = "/console/";

interface Place {
  path: string[];
  go: (to: string) => void;
}

const Context = createContext<Place>({ path: [], go: () => undefined });

const here = (): string[] => window.location.pathname.slice(BASE.length).split("/").filter(Boolean).map(decodeURIComponent);

export function Router({ children }: { children: ReactNode }) {
  const [path, setPath] = useState(here);
  useEffect(() => {
    const moved = () => setPath(here());
    window.addEventListener("popstate", moved);
    return () => window.removeEventListener("popstate", moved);
  }, []);
  const go = useCallback((to: string) => {
    window.history.pushState(null, "", BASE + to);
    setPath(here());
    window.scrollTo(0, 0);
  }, []);
  return <Context.Provider value={{ path, go }}>{children}</Context.Provider>;
}

export const usePlace = (): Place => useContext(Context);

/** A real link (it can be opened in a new tab) that changes the page in place. */
export function useLink(to: string): { href: string; onClick: (event: MouseEvent) => void } {
  const { go } = usePlace();
  return {
    href: BASE + to,
    onClick: (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
      event.preventDefault();
      go(to);
    },
  };
}

export function Link({ to, children, className }: { to: string; children: ReactNode; className?: string }) {
  return (
    <a {...useLink(to)} className={className}>
      {children}
    </a>
  );
}
