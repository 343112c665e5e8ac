// Its imports have the extensions that tsconfig.json asks for; the rest is as by default.
export default {
  input: "openapi.json",
  output: { path: "hey_api", tsConfigPath: `${import.meta.dirname}/tsconfig.json` },
};
