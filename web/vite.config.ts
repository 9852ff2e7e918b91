import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

// PatternFly's modules bring their style sheets along, used or not. Those of components that no page has are left out:
// a page that begins to use one takes it off this list.
const UNUSED =
  "AboutModalBox Accordion Avatar BackToTop CalendarMonth CodeEditor Compass DataList DatePicker DragDrop Drawer DualListSelector " +
  "ExpandableSection FileUpload Hero Hint InlineEdit JumpLinks Login MultipleFileUpload NotificationDrawer NumberInput Pagination " +
  "ProgressStepper Sidebar SimpleList Slider Switch Tabs TabContent Tile TreeView Wizard";

function leaveOutUnusedStyles(): Plugin {
  const unused = new Set(UNUSED.split(" "));
  return {
    name: "leave-out-unused-styles",
    enforce: "pre",
    load(id) {
      const component = /react-styles\/css\/components\/(\w+)\/[\w-]+\.css/.exec(id)?.[1];
      return component !== undefined && (unused.has(component) || id.includes("table-tree-view")) ? "" : undefined;
    },
  };
}

/** Writes the hash of all sources beside the pages: a test without Node.js compares it, so that nobody forgets to build. */
function noteSources(): Plugin {
  return {
    name: "note-sources",
    generateBundle() {
      const sources = readdirSync("src", { recursive: true, withFileTypes: true })
        .filter((f) => f.isFile() && !f.name.includes(".test."))
        .map((f) => `${f.parentPath}/${f.name}`);
      const files = [...sources, "index.html", "package-lock.json", "public/skerry.svg", "vite.config.ts"].sort();
      const hash = createHash("sha256");
      for (const file of files) hash.update(`${file}\n`).update(readFileSync(file));
      this.emitFile({ type: "asset", fileName: "sources.sha256", source: `${hash.digest("hex")}\n` });
    },
  };
}

// The hub serves the pages below /console/, from inside the Python package. Nothing is loaded from another host, and no
// script or style is inline: the hub's Content-Security-Policy would refuse it.
export default defineConfig({
  base: "/console/",
  plugins: [leaveOutUnusedStyles(), react(), noteSources()],
  build: {
    outDir: "../src/skerry/console/assets",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1500,
  },
  server: { proxy: { "/console/api": { target: "https://127.0.0.1:8443", secure: false } } },
});
