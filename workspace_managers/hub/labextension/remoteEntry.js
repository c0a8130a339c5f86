// JupyterLab loads this as it is. It opens in the workspace's folder, and shows its name and, when it is due, that access
// ends.
// It rests on nothing that an image may lack: where something is missing it shows nothing, and the rest goes on.
(() => {
  const source = document.currentScript && document.currentScript.src;
  if (!source) return;
  const name = decodeURIComponent(new URL(source).pathname.split("/").at(-2));
  const DUE = [86400, 3600, 600]; // seconds before the end
  const LOOK = 30000; // milliseconds

  const element = (tag, style, text) => {
    const made = document.createElement(tag);
    made.style.cssText = style;
    made.textContent = text;
    return made;
  };

  const inWords = (seconds, language) => {
    const unit = seconds >= 7200 ? "hour" : "minute";
    const count = unit === "hour" ? Math.floor(seconds / 3600) : Math.max(1, Math.floor(seconds / 60));
    return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(count);
  };

  const showName = (access) => {
    const bar = document.getElementById("jp-top-panel") || document.getElementById("top-panel");
    const shown = element(
      "span",
      "align-self: center; margin-left: auto; padding: 0 12px; min-width: 4em; max-width: 40%; overflow: hidden;" +
        "text-overflow: ellipsis; white-space: nowrap; font: 600 13px var(--jp-ui-font-family, sans-serif);" +
        "color: var(--jp-ui-font-color1, #222)",
      access.title,
    );
    shown.id = "workspace-name";
    shown.dir = "auto";
    shown.title = [access.title, access.closing, access.kept].filter(Boolean).join("\n");
    if (bar) bar.append(shown);
  };

  const boxOf = (id, role, access, ...content) => {
    const box = element(
      "div",
      "position: fixed; z-index: 10000; top: 40px; right: 16px; max-width: min(28em, calc(100vw - 32px));" +
        "box-sizing: border-box; padding: 12px 16px; border: 1px solid #b45309; border-left-width: 6px;" +
        "font: 14px/1.5 var(--jp-ui-font-family, sans-serif); color: var(--jp-ui-font-color0, #000);" +
        "background: var(--jp-layout-color1, #fff); box-shadow: 0 4px 16px rgb(0 0 0 / 30%)",
      "",
    );
    box.id = id;
    box.setAttribute("role", role);
    box.lang = access.language;
    const close = element(
      "button",
      "display: block; margin-top: 8px; padding: 4px 12px; font: inherit; color: inherit; cursor: pointer;" +
        "background: transparent; border: 1px solid currentcolor",
      access.close,
    );
    close.type = "button";
    close.onclick = () => box.remove();
    box.append(...content, close);
    return box;
  };

  // Announced once; the time in it goes on without being read out each minute.
  const warning = (access) => {
    const [before, after] = access.warning.split("{left}");
    const left = element("span", "", "");
    left.setAttribute("aria-live", "off");
    return { box: boxOf("workspace-ends", "alert", access, before, left, after), left };
  };

  // Where the file browser is when the Lab opens, new files go; they are to be where files are kept. Once in a tab, and not
  // where the address names a place of its own.
  const openFolder = async (app, { folder, home }) => {
    const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    const root = (config.serverRoot || home).replace(/\/+$/, "");
    const opened = `${name}/opened`;
    if (!/\/lab\/?$/.test(location.pathname) || sessionStorage.getItem(opened)) return;
    sessionStorage.setItem(opened, "1");
    const path = folder.slice((folder.startsWith(`${root}/`) ? root : home).length + 1);
    await app.commands.execute("filebrowser:go-to-path", { path, dontShowBrowser: true });
  };

  // What a server says of a full disk names a file that was not found.
  const explainFailedSave = (access) => {
    const look = () => {
      for (const body of document.querySelectorAll(".jp-Dialog-body")) {
        if (!/error while saving file/i.test(body.textContent) || body.querySelector(".workspace-full")) continue;
        const hint = element("p", "margin: 12px 0 0", access.full);
        hint.className = "workspace-full";
        hint.lang = access.language;
        body.append(hint);
      }
    };
    new MutationObserver(look).observe(document.body, { childList: true });
  };

  const begin = async (app) => {
    const answer = await fetch(new URL("access.json", source), { cache: "no-store" });
    const access = await answer.json();
    if (!access.title || !access.warning) return;
    showName(access);
    if (access.notice) {
      const notice = boxOf("workspace-notice", "status", access, access.notice);
      Object.assign(notice.style, { top: "auto", bottom: "40px" }); // beside a warning
      document.body.append(notice);
    }
    if (access.full) explainFailedSave(access);
    if (access.folder) openFolder(app, access).catch(() => {});
    let told = Infinity;
    let shown = null;
    const look = () => {
      const seconds = (Date.parse(access.end) - Date.now()) / 1000;
      const due = Math.min(...DUE.filter((each) => seconds <= each));
      if (due < told) {
        told = due;
        if (shown) shown.box.remove();
        shown = warning(access);
        document.body.append(shown.box);
      }
      if (shown) shown.left.textContent = inWords(seconds, access.language);
    };
    look();
    setInterval(look, LOOK);
    document.addEventListener("visibilitychange", look); // a page in the background, or asleep, is behind
  };

  const plugin = {
    id: "workspace-managers:access",
    autoStart: true,
    activate: (app) => {
      Promise.resolve(app.restored).then(() => begin(app)).catch(() => {});
    },
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[name] = { init: () => {}, get: async () => () => ({ __esModule: true, default: plugin }) };
})();
