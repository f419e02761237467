// With this the page and the API have one origin. Next's own server would gather small pieces to compress them.
export default {
  compress: false,
  rewrites: async () => [{ source: "/api/chat/:path*", destination: `${process.env.GATEWAY ?? "http://127.0.0.1:8000"}/api/chat/:path*` }],
};
