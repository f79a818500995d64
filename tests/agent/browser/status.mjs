// node status.mjs URL [--screenshot FILE] [--deploy NAME FIRST SECOND]
// Drives the status page in Debian's chromium. FIRST and SECOND: model:tag of two versions; NAME becomes one, then the other,
// then is rolled back. Exit code 0: all as expected.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [base, ...options] = process.argv.slice(2);
const option = (name, count) => {
  const at = options.indexOf(name);
  return at < 0 ? null : options.slice(at + 1, at + 1 + count);
};
const kLong_ms = 120_000;

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const context = await browser.newContext({ colorScheme: "light", viewport: { width: 960, height: 880 }, ignoreHTTPSErrors: true });
const page = await context.newPage();
page.setDefaultTimeout(kLong_ms);
const wrong = [];
page.on("pageerror", (error) => wrong.push(`script: ${error.message}`));
page.on("console", (message) => message.type() === "error" && !/status of 40[0-9]/.test(message.text()) && wrong.push(message.text()));
page.on("request", (request) => request.url().startsWith(base) || request.url().startsWith("data:") || wrong.push(`asked elsewhere: ${request.url()}`));

await page.goto(`${base}/status`);
const deploy = option("--deploy", 3);
if (deploy) {
  const [name, first, second] = deploy;
  const row = page.locator("#deployments tr", { has: page.locator(`td:text-is("${name}")`) });
  const active = () => row.locator("td:nth-child(3) code").getAttribute("title");
  const deploy_to = async (model) => {
    await page.fill("#deploy-name", name);
    await page.fill("#deploy-model", model);
    await page.click("#deploy button");
  };
  const settled = async (differs_from) => {
    for (const began = Date.now(); Date.now() - began < kLong_ms; await page.waitForTimeout(200)) {
      if (!await row.count() || !await row.locator("td:nth-child(3) code").count()) continue;
      if ((await row.locator("td:nth-child(5)").textContent()).startsWith("active") && await active() !== differs_from)
        return active();
    }
    throw new Error(`${name} did not become active: ${await row.allTextContents()}, ${await page.textContent("#deploy-said")}`);
  };
  await page.waitForSelector("#deploy-name", { state: "visible" });
  await deploy_to(first);
  const before = await settled(null);
  await deploy_to(second);
  const after = await settled(before);
  assert.notEqual(before, after);
  await row.getByRole("button", { name: `Roll back ${name}` }).click();
  assert.equal(await settled(after), before);
  console.log(`deployed ${name}, moved it and rolled it back`);
}

await page.waitForSelector("#models td");
assert.ok(await page.locator("#models tr").count() >= 1);

// Every control has a name that can be spoken.
for (const control of await page.locator("input, select, textarea, button").all())
  assert.ok(await control.evaluate((e) => e.labels?.[0]?.textContent || e.ariaLabel || e.textContent), await control.innerHTML());

// A prompt: text comes piece by piece, and the counts at the end.
await page.evaluate(() => {
  globalThis.pieces = [];
  new MutationObserver(() => globalThis.pieces.push(document.getElementById("answer").textContent.length))
    .observe(document.getElementById("answer"), { childList: true });
});
await page.fill("#prompt", "The old king");
await page.fill("#max-tokens", "200");
await page.fill("#temperature", "0.7");
await page.click("#go");
await page.waitForFunction(() => /\d+ tokens in/.test(document.getElementById("answer-said").textContent));
const pieces = await page.evaluate(() => globalThis.pieces.filter((length) => length > 0));
assert.ok(new Set(pieces).size >= 5, `the answer came in ${new Set(pieces).size} pieces`);

// Stopping: what came stays.
await page.fill("#max-tokens", "5000");
await page.evaluate(() => {  // from inside the page: a fast machine has answered before a click from here arrives
  new MutationObserver((_, observer) => {
    if (document.getElementById("answer").textContent.length === 0) return;
    observer.disconnect();
    document.getElementById("stop").click();
  }).observe(document.getElementById("answer"), { childList: true });
});
await page.click("#go");
await page.waitForFunction(() => /stopped|tokens in/.test(document.getElementById("answer-said").textContent));

// A request that is refused is explained.
await page.fill("#prompt", "word ".repeat(20_000));
await page.click("#go");
await page.waitForFunction(() => /context holds/.test(document.getElementById("answer-said").textContent));
await page.fill("#prompt", "The old king");
await page.fill("#max-tokens", "120");

// Charts are drawn from what was measured, and say it in words.
await page.waitForFunction(() => document.querySelectorAll("#rate polyline")[0]?.getAttribute("points").split(" ").length >= 3);
assert.match(await page.textContent("#memory-text"), /MiB/);

// Dark, and on a phone: nothing sticks out.
const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const light = await ground();
await page.emulateMedia({ colorScheme: "dark" });
assert.notEqual(await ground(), light);
await page.setViewportSize({ width: 360, height: 740 });
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than a phone");
await page.emulateMedia({ colorScheme: "light" });
await page.setViewportSize({ width: 960, height: 880 });

const file = option("--screenshot", 1);
if (file) {
  await page.click("#go");
  await page.waitForFunction(() => /\d+ tokens in/.test(document.getElementById("answer-said").textContent));
  await page.waitForTimeout(2500);
  await page.screenshot({ path: file[0], fullPage: true });
}
await browser.close();
assert.deepEqual(wrong, []);
console.log("status page: all as expected");
