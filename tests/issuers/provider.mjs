// npm's certified oidc-provider on a loopback port, for tests/e2e/test_oidc_provider.py.
//
// Prints its issuer URL as the first line and ends when its standard input does, so that nothing is
// left running after the tests. Keys and the client's secret are made anew for every run.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const secret = process.env.TEST_CLIENT_SECRET;

const jwk = (kid, alg, kind, options) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig',
});

const keys = [
  jwk('es', 'ES256', 'ec', { namedCurve: 'P-256' }),
  jwk('rs', 'RS256', 'rsa', { modulusLength: 2048 }),
  jwk('ps', 'PS256', 'rsa', { modulusLength: 2048 }),
  jwk('ed', 'EdDSA', 'ed25519', {}),
];

const server = createServer().listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'crew',
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // The resource's last part names the algorithm and, for one test, another audience.
        getResourceServerInfo: (context, resource) => {
          const [audience, alg] = new URL(resource).pathname.split('/').slice(1);
          return {
            audience, scope: 'sql', accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg } },
          };
        },
      },
    },
    extraTokenClaims: () => ({
      realm_access: { roles: ['analysts', 'dbas'] }, agent: 'planner', 'https://example.com/model': 'm-1',
    }),
  });
  server.on('request', provider.callback());
  process.stdout.write(`${issuer}\n`);
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
