// With this the page and the API have one origin. From another one, the gateway needs CORS_ORIGINS.
export default {
  server: { proxy: { "/api": process.env.GATEWAY ?? "http://127.0.0.1:8000" } },
};
