// Signs as the Standard Webhooks library does: one JSON line {secret, id, seconds, body} in, one signature out.
const { Webhook } = require("standardwebhooks");
const lines = require("node:readline").createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { secret, id, seconds, body } = JSON.parse(line);
  console.log(new Webhook(secret).sign(id, new Date(seconds * 1000), body));
});
