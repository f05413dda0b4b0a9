// Does with Photon's published client what the hub's drivers do; one JSON line of what came back.
import { SDK } from "@photon-ai/advanced-imessage-kit";
import { writeFileSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";

const [serverUrl, apiKey, chatGuid] = process.argv.slice(2);
const sdk = SDK({ serverUrl, apiKey, logLevel: "error", logToFile: false });
const file = join(mkdtempSync(join(tmpdir(), "kit-")), "a.txt");
writeFileSync(file, "FILEBYTES");
const text = await sdk.messages.sendMessage({ chatGuid, message: "from the kit" });
const reply = await sdk.messages.sendMessage({ chatGuid, message: "an answer", selectedMessageGuid: text.guid });
const fresh = await sdk.messages.sendMessage({ chatGuid: "any;-;+15550199999", message: "to somebody new" });
const sent = await sdk.attachments.sendAttachment({ chatGuid, filePath: file, fileName: "a.txt" });
await sdk.messages.sendReaction({ chatGuid, messageGuid: text.guid, reaction: "love" });
await sdk.messages.editMessage({ messageGuid: text.guid, editedMessage: "edited by the kit" });
await sdk.messages.unsendMessage({ messageGuid: reply.guid });
await sdk.chats.markChatRead(chatGuid);
await sdk.chats.startTyping(chatGuid);
const rows = await sdk.messages.getMessages({ chatGuid, limit: 50, sort: "ASC", with: ["chats", "attachments"] });
const info = await sdk.server.getServerInfo();
let refused = "";
try {
    await sdk.messages.sendMessage({ chatGuid, message: "#error22" });
} catch (error) {
    refused = String(error?.response?.data?.data?.error ?? error);
}
console.log(JSON.stringify({ text, reply, fresh, sent, rows, info, refused }));
process.exit(0);
