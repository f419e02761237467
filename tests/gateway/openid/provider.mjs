// A certified OpenID provider (npm: oidc-provider) as a process of its own. It is configured by one JSON argument:
// port, keys (JWKs with their private parts), redirectUri, secret, audience, claims (of access tokens).
import { Provider } from "oidc-provider";

const { port, keys, redirectUri, secret, audience, claims } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const signs = keys[0].alg;

const api = { scope: "", audience, accessTokenFormat: "jwt", jwt: { sign: { alg: signs } } };

const provider = new Provider(issuer, {
  jwks: { keys },
  clients: [
    {
      client_id: "chat page",
      client_secret: secret,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code"],
      response_types: ["code"],
      id_token_signed_response_alg: signs,
    },
    {
      client_id: "billing",
      client_secret: secret,
      redirect_uris: [],
      grant_types: ["client_credentials"],
      response_types: [],
      id_token_signed_response_alg: signs,
    },
  ],
  cookies: { keys: ["a key of a test"] },
  extraTokenClaims: () => claims,
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({ ...api, audience: resource }),
    },
  },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...claims }) }),
  pkce: { required: () => true },
  ttl: { AccessToken: 3600, ClientCredentials: 3600, IdToken: 3600, Interaction: 600, Session: 600, Grant: 600 },
});

provider.on("server_error", (_, error) => console.error(error));
provider.listen(port, "127.0.0.1");
