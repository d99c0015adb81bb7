// The dashboard in a real browser, driven by a test.
import { chromium } from "playwright-core";
import { answer } from "./lines.mjs";

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const tabs = new Map();

// Text of too little contrast to what is behind it: 4.5, or 3 where it is large.
function faint() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (channels(colour)[3] === 255) return colour;
    }
    return "white";
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const [a, b] = [luminance(node instanceof SVGElement ? style.fill : style.color), luminance(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) found.push([node.textContent.trim(), ratio]);
  }
  return found;
}

answer({
  async open({ name, url, dark = false, width = 1280, height = 800 }) {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light" });
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    tabs.set(name, { page, errors });
    await page.goto(url);
  },
  // Waits for a text in what a selector finds.
  async sees({ name, selector, text }) {
    await tabs.get(name).page.locator(selector).filter({ hasText: text }).first().waitFor({ timeout: 20000 });
  },
  text: ({ name, selector }) => tabs.get(name).page.locator(selector).first().innerText(),
  async fill({ name, selector, text }) {
    const { page } = tabs.get(name);
    await page.fill(selector, text);
    await page.press(selector, "Enter");
  },
  async press({ name, selector, key }) {
    await tabs.get(name).page.press(selector, key);
  },
  async hover({ name, selector }) {
    await tabs.get(name).page.hover(selector);
  },
  errors: ({ name }) => tabs.get(name).errors,
  faint: ({ name }) => tabs.get(name).page.evaluate(faint),
  // The value of a script in the page.
  run: ({ name, script }) => tabs.get(name).page.evaluate(script),
  async picture({ name, file, whole = false }) {
    await tabs.get(name).page.screenshot({ path: file, fullPage: whole });
  },
});
