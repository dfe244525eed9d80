#!/bin/sh
# Build the vendored chart library anew: sh scripts/echarts/build.sh. Needs npm; nothing else of the project does.
# The packages are named with their checksums in package-lock.json, so that the same file comes out each time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$here/../../src/opentelemetry_instrumentation_corevital/presentation/pages/static
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$here/parts.js" "$work"
cd "$work"
npm ci --no-audit --no-fund
npx esbuild parts.js --bundle --minify --format=iife --global-name=echarts --legal-comments=none \
    --banner:js="/*! Apache ECharts $(node -p 'require("echarts/package.json").version'), Apache-2.0; ZRender and tslib: see echarts.LICENSE and echarts.NOTICE */" \
    --outfile="$target/echarts.min.js"
{
  cat node_modules/echarts/LICENSE
  printf '\n\n--- ZRender (BSD-3-Clause) ---\n\n'
  cat node_modules/zrender/LICENSE
  printf '\n\n--- tslib (0BSD) ---\n\n'
  cat node_modules/tslib/LICENSE.txt
} > "$target/echarts.LICENSE"
cp node_modules/echarts/NOTICE "$target/echarts.NOTICE"
sha256sum "$target/echarts.min.js"
