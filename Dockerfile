# The syncer. test/image/ takes these steps one by one, for want of a container engine, and starts what
# they make.
#
# The base is pinned by its full version, not by digest: whoever builds in earnest adds the digest that
# their registry shows (`docker buildx imagetools inspect node:24.21.0-bookworm-slim`).
FROM node:24.21.0-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# No package has anything to run when it is installed, so none may.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules/
COPY package.json ./
# The sources are what runs: Node strips the types.
COPY bin bin/
COPY snapshot snapshot/
COPY syncer syncer/
COPY local local/
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["node", "/app/bin/causeway.mjs"]
CMD ["sync"]
