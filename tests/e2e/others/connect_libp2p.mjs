// js-libp2p: a node that is made anew connects to another over a WebSocket on this machine. Argument 1 is the folder of
// packages. Prints its version and the median in milliseconds from the making of the node to the connection; loading the
// code is not in it.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = process.argv[2]
const load = (name) => import(pathToFileURL(join(folder, name, 'dist/src/index.js')).href)
const { createLibp2p } = await load('libp2p')
const { webSockets } = await load('@libp2p/websockets')
const { noise } = await load('@chainsafe/libp2p-noise')
const { yamux } = await load('@chainsafe/libp2p-yamux')

const parts = { transports: [webSockets()], connectionEncrypters: [noise()], streamMuxers: [yamux()] }
const listener = await createLibp2p({
  ...parts,
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0/ws'] },
  // It takes five a second from one address otherwise.
  connectionManager: { inboundConnectionThreshold: 1000 },
})
const times = []
for (let turn = 0; turn < 11; turn++) {
  const began = performance.now()
  const node = await createLibp2p(parts)
  await node.dial(listener.getMultiaddrs()[0])
  times.push(performance.now() - began)
  await node.stop()
}
await listener.stop()
times.sort((one, other) => one - other)
console.log(JSON.parse(readFileSync(join(folder, 'libp2p/package.json'), 'utf8')).version, times[5])
