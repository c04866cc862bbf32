# SPDX-License-Identifier: Apache-2.0
"""Certificate transparency logs: the public record of every certificate the CA issues.

`messages` between worker and keeper; `submission` which chains are taken; `api` RFC 6962 over
HTTP and `static_api` the published tiles (workers); `personality` how the engine makes leaves
and tree heads, `auditor` how fsck checks them; `keeper` the logs themselves (keeper process).
Specifications: RFC 6962, C2SP static-ct-api (data tiles and checkpoints).
"""
