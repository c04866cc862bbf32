# SPDX-License-Identifier: Apache-2.0
"""HTTP plumbing that every service shares.

`body` bounded request bodies; `replies` ready-made replies; `cors` cross-origin access;
`problems` our errors as HTTP replies; `application` from path to route; `protocol` limits on
headers and time.
"""
