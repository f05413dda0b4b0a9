// Signs as Twilio's own library does: one JSON line {token, url, params} in, one signature out.
const { getExpectedTwilioSignature } = require("twilio/lib/webhooks/webhooks.js");
const lines = require("node:readline").createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { token, url, params } = JSON.parse(line);
  console.log(getExpectedTwilioSignature(token, url, params));
});
