// The demo page in a real browser, driven by a test.
import { chromium } from "playwright-core";
import { answer } from "./lines.mjs";

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const tabs = new Map();

answer({
  // Opens a tab, and waits until its page is connected.
  async open({ name, url, dark, width = 900 }) {
    const context = await browser.newContext({ viewport: { width, height: 640 }, colorScheme: dark ? "dark" : "light" });
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    // Nothing but this machine: the public CDN is out of reach for the test, wherever it runs.
    await page.route((target) => target.hostname !== "127.0.0.1" && target.protocol !== "file:", (route) => route.abort());
    tabs.set(name, { page, errors });
    await page.goto(url);
    await page.waitForSelector("#state[data-state=connected]", { timeout: 15000 });
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
  // The value of a script in the page.
  run: ({ name, script }) => tabs.get(name).page.evaluate(script),
  async picture({ name, file }) {
    await tabs.get(name).page.screenshot({ path: file });
  },
});
