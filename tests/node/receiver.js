// A server on loopback that gives what it is told first: its headers and its body as they came.
import { once } from "node:events";
import { createServer } from "node:http";

export async function receiving(use) {
  let tell;
  const told = new Promise((resolve) => (tell = resolve));
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    response.writeHead(204).end();
    tell({ headers: request.headers, body: Buffer.concat(pieces).toString() });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${server.address().port}/told`, told);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
