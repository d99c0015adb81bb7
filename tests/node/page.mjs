// The demo page in a real browser, driven by a test.
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { answer } from "./lines.mjs";

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const tabs = new Map();

answer({
  // Opens a tab, and waits until its page is connected, or says another state. With `official` it gets the official client from
  // the public CDN, as far as it can tell.
  async open({ name, url, dark, width = 900, state = "connected", official = false }) {
    const context = await browser.newContext({ viewport: { width, height: 640 }, colorScheme: dark ? "dark" : "light" });
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    // Nothing but this machine: the public CDN is out of reach for the test, wherever it runs.
    await page.route((target) => target.hostname !== "127.0.0.1" && target.protocol !== "file:", (route) => route.abort());
    if (official) {
      const path = fileURLToPath(new URL("node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url));
      await page.route("https://cdn.socket.io/**", (route) => route.fulfill({ path, contentType: "text/javascript" }));
    }
    tabs.set(name, { page, errors });
    await page.goto(url);
    await page.waitForSelector(`#state[data-state=${state}]`, { timeout: 15000 });
  },
  async facts({ name }) {
    const { page, errors } = tabs.get(name);
    const text = (id) => page.textContent(id);
    return {
      state: await text("#state"), worker: await text("#worker"), transport: await text("#transport"), room: await text("#room"),
      notice: await page.isVisible("#notice") ? await text("#notice") : null,
      messages: await page.$$eval("#messages li", (items) => items.map((item) => [item.querySelector("b").textContent, item.querySelector("p").textContent])),
      errors,
    };
  },
  async say({ name, text }) {
    const { page } = tabs.get(name);
    await page.fill("#text", text);
    await page.press("#text", "Enter");
  },
  async join({ name, room }) {
    const { page } = tabs.get(name);
    await page.fill("#name", room);
    await page.press("#name", "Enter");
  },
  async fill({ name, selector, text }) {
    const { page } = tabs.get(name);
    await page.fill(selector, text);
  },
  async press({ name, selector, key }) {
    await tabs.get(name).page.press(selector, key);
  },
  async hold({ name, key }) {
    await tabs.get(name).page.keyboard.down(key);
  },
  errors: ({ name }) => tabs.get(name).errors,
  // The value of a script in the page.
  run: ({ name, script }) => tabs.get(name).page.evaluate(script),
  async picture({ name, file }) {
    await tabs.get(name).page.screenshot({ path: file });
  },
});
