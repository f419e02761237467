// With this the page and the API have one origin. From another one, the gateway needs CORS_ORIGINS.
const target = process.env.GATEWAY ?? "http://127.0.0.1:8000";
// A stream that broke off has to break here, too: Vite's own proxy would leave the page waiting for ever.
const breaking = (proxy) =>
  proxy.on("proxyRes", (answer, _, response) => answer.once("close", () => answer.complete || response.destroy()));

export default {
  server: { proxy: { "/api": { target, configure: breaking } } },
};
