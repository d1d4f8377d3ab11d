// End-to-end tests of the web page in a real browser: trains, indexes and serves a small model, and uses the page as a person would.
//
//   npm ci && MBM=../../../../target/release/mbm CHROMIUM=/usr/bin/chromium npm test

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import { chromium } from "playwright-core";

const mbm = resolve(process.env.MBM ?? "../../../../target/release/mbm");
const folder = mkdtempSync(join(tmpdir(), "mbm-page-"));
const at = (name) => join(folder, name);

const CONFIG = `
input_features:
  - {name: photo, type: image, preprocessing: {height: 8, width: 8, num_channels: 1}, encoder: {type: stacked_cnn, num_filters: 4, output_size: 8}}
  - {name: caption, type: text, encoder: {type: embed, embedding_size: 8}}
  - {name: size, type: number}
output_features:
  - {name: kind, type: category}
  - {name: space, type: embedding, align: [photo, caption], embedding_size: 8}
preprocessing: {split: {type: random, probabilities: [0.8, 0.1, 0.1]}}
trainer: {epochs: 20, batch_size: 16, learning_rate: 0.02, early_stop: 0}
`;

/** Encodes a uniform gray image as PNG. */
function png(level, side = 16) {
  const chunk = (type, content) => {
    const body = Buffer.concat([Buffer.from(type), content]);
    const ends = [Buffer.alloc(4), Buffer.alloc(4)];
    ends[0].writeUInt32BE(content.length);
    ends[1].writeUInt32BE(crc32(body));
    return Buffer.concat([ends[0], body, ends[1]]);
  };
  const head = Buffer.from([0, 0, 0, side, 0, 0, 0, side, 8, 0, 0, 0, 0]);
  const rows = Buffer.concat(Array.from({ length: side }, () => Buffer.concat([Buffer.from([0]), Buffer.alloc(side, level)])));
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

async function serve(...more) {
  const server = spawn(mbm, ["serve", "--index", at("index"), "--port", "0", ...more], { stdio: ["ignore", "pipe", "inherit"] });
  const address = await new Promise((found, failed) => {
    let output = "";
    server.stdout.on("data", (text) => {
      output += text;
      const line = output.match(/http:\/\/\S+/);
      if (line) found(line[0]);
    });
    server.on("exit", (code) => failed(new Error(`mbm serve ended with ${code}`)));
  });
  return { address, stop: () => new Promise((ended) => server.on("exit", ended) && server.kill("SIGTERM")) };
}

let browser, server;

before(async () => {
  const rows = Array.from({ length: 60 }, (_, row) => {
    writeFileSync(at(`${row}.png`), png((row % 2 ? 220 : 20) + (row % 5)));
    const word = row % 2 ? "bright" : "dark";
    return `${row}.png,a ${word} image ${row},${row},${word}`;
  });
  writeFileSync(at("rows.csv"), ["photo,caption,size,kind", ...rows, ""].join("\n"));
  writeFileSync(at("config.yaml"), CONFIG);
  const run = (...args) => execFileSync(mbm, args, { stdio: "inherit" });
  run("train", "--config", at("config.yaml"), "--dataset", at("rows.csv"), "--output-directory", at("run"), "--quiet");
  run("index", "build", "--index", at("index"), "--model-path", at("run"), "--dataset", at("rows.csv"), "--input", "photo", "--quiet");
  server = await serve();
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true });
});

/** Opens the page and records errors in its console. */
async function open(address = server.address, options = {}) {
  const page = await browser.newPage(options);
  page.consoleErrors = [];
  page.on("pageerror", (error) => page.consoleErrors.push(error.message));
  page.on("console", (message) => message.type() === "error" && page.consoleErrors.push(message.text()));
  await page.goto(address);
  await page.getByRole("button", { name: "Predict" }).waitFor();
  return page;
}

test("a prediction from an image and a number shows probabilities and contributions", async () => {
  const page = await open();
  await page.locator("#inputs input[type=file]").setInputFiles(at("3.png"));
  await page.locator("#inputs img").waitFor();
  await page.locator("#inputs").getByLabel("size").fill("3");
  await page.getByRole("button", { name: "Predict" }).click();
  await page.locator(".said").waitFor();
  assert.equal(await page.locator(".said").innerText(), "bright");
  const shares = await page.locator(".bars").first().locator(".value").allInnerTexts();
  assert.equal(shares.length, 2);
  assert.deepEqual(await page.locator(".bars.pull").first().locator("dt").allInnerTexts(), ["photo", "size"]);
  assert.match(await page.locator("#outputs").innerText(), /absent: caption/);
  // The inputs of the prediction are searched for in the index, too.
  await page.locator("#found li img").first().waitFor();
  assert.match(await page.locator("#found li").first().innerText(), /cosine 1\.000/);
  assert.deepEqual(page.consoleErrors, []);
});

test("search runs while typing, and a filter narrows the results", async () => {
  const page = await open();
  await page.locator("#query").getByLabel("caption").pressSequentially("dark");
  await page.locator("#found li").first().waitFor();
  assert.equal(await page.locator("#found li").count(), 24);
  await page.getByLabel("Only rows where").fill("size < 5");
  await page.waitForFunction(() => document.querySelectorAll("#found li").length === 5);
  assert.match(await page.locator("#found-count").innerText(), /5 of 60 rows/);
  assert.deepEqual(page.consoleErrors, []);
});

/** Makes the next predictions fail with a status and a message of the server. */
async function fail(page, status, error) {
  await page.route("**/predict*", (route) => route.fulfill({ status, json: { error } }));
}

test("an error message is shown until it is resolved", async () => {
  const page = await open();
  await fail(page, 429, "the queue is full");
  await page.locator("#inputs").getByLabel("size").fill("3");
  await page.getByRole("button", { name: "Predict" }).click();
  const alert = page.getByRole("alert");
  await alert.waitFor();
  assert.equal(await alert.innerText(), "the queue is full");
  await page.getByRole("button", { name: "Clear" }).click();
  await alert.waitFor({ state: "hidden" });
  await page.unroute("**/predict*");
  await page.locator("#inputs").getByLabel("size").fill("3");
  await page.getByRole("button", { name: "Predict" }).click();
  await page.locator(".said").waitFor();
  assert.ok(await alert.isHidden());
  await page.getByLabel("Only rows where").fill("size <");
  await page.locator("#query").getByLabel("caption").fill("dark");
  await alert.waitFor();
});

test("an error clears the previous prediction", async () => {
  const page = await open();
  const predict = async () => {
    await page.locator("#inputs").getByLabel("size").fill("3");
    await page.getByRole("button", { name: "Predict" }).click();
  };
  await predict();
  await page.locator(".said").waitFor();
  await fail(page, 503, "the request timed out after 30 s");
  await predict();
  await page.getByRole("alert").waitFor();
  // The first prediction has started a search, whose success does not remove the message.
  await page.waitForTimeout(500);
  assert.ok(await page.getByRole("alert").isVisible());
  assert.equal(await page.locator(".said, .bars").count(), 0);
  assert.match(await page.locator("#outputs").innerText(), /No prediction for these inputs/);
  await page.unroute("**/predict*");
  await predict();
  await page.locator(".said").waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.waitForFunction(() => !document.querySelector(".said") && /Fill in/.test(document.getElementById("outputs").innerText));
});

test("an unreadable file is reported without decoder internals", async () => {
  const page = await open();
  for (const buffer of [Buffer.concat([png(20).subarray(0, 50), Buffer.alloc(200)]), Buffer.from("not an image")]) {
    await page.locator("#inputs input[type=file]").setInputFiles({ name: "note.png", mimeType: "image/png", buffer });
    await page.getByRole("button", { name: "Predict" }).click();
    const message = page.getByText(/photo.*unreadable/).first();
    await message.waitFor();
    assert.doesNotMatch(await message.innerText(), /decod|format error|CRC|ImageFormat|unexpected end of file|chunk/i);
    // By the keyboard: its preview goes if the browser cannot read it, either, which moves the buttons under the pointer.
    await page.getByRole("button", { name: "Clear" }).press("Enter");
    await message.waitFor({ state: "hidden" });
  }
});

test("all controls are reachable by keyboard", async () => {
  const page = await open();
  const reached = [];
  for (let step = 0; step < 12; step++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.id || document.activeElement.textContent));
  }
  for (const control of ["theme", "input-0", "input-1", "input-2", "Predict", "Clear", "query-0", "query-1", "filter"]) {
    assert.ok(reached.includes(control), `${control} in ${reached}`);
  }
  await page.locator("#input-2").focus();
  await page.keyboard.type("4");
  await page.keyboard.press("Control+Enter");
  await page.locator(".said").waitFor();
});

test("the page fits a phone screen in light and dark mode", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const page = await open(server.address, { viewport: { width: 360, height: 740 }, colorScheme });
    await page.locator("#query").getByLabel("caption").fill("bright");
    await page.locator("#found li").first().waitFor();
    const [inner, total] = await page.evaluate(() => [innerWidth, document.documentElement.scrollWidth]);
    assert.ok(total <= inner, `${total} > ${inner}`);
    const back = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(back, colorScheme === "dark" ? "rgb(20, 22, 28)" : "rgb(245, 246, 250)");
  }
});

test("the page prompts for an API key if the server requires one", async () => {
  writeFileSync(at("key"), "secret\n");
  const locked = await serve("--api-key-file", at("key"));
  const page = await browser.newPage();
  await page.goto(locked.address);
  await page.getByLabel("This server requires an API key").fill("secret");
  await page.getByRole("button", { name: "Use key" }).click();
  await page.getByRole("button", { name: "Predict" }).waitFor();
  assert.ok(await page.getByRole("alert").isHidden());
  await page.close();
  await locked.stop();
});

test("the API page lists every endpoint", async () => {
  const page = await browser.newPage();
  await page.goto(`${server.address}/docs`);
  await page.locator("#operations section").first().waitFor();
  const paths = Object.keys((await (await fetch(`${server.address}/openapi.json`)).json()).paths);
  const shown = await page.locator("h2 code").allInnerTexts();
  assert.deepEqual(shown.map((it) => it.split(" ")[1]).sort(), paths.sort());
});
