// creds.mjs JID - a session as it is after pairing, in base64, for a server that does not pair.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(process.env.BRIDGE_FOLDER + '/package.json');
const { BufferJSON, initAuthCreds } = await import(pathToFileURL(require.resolve('baileys')));
const creds = { ...initAuthCreds(), me: { id: process.argv[2], name: 'Hub' }, registered: true };
process.stdout.write(Buffer.from(JSON.stringify(creds, BufferJSON.replacer)).toString('base64'));
