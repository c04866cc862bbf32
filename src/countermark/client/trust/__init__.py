# SPDX-License-Identifier: Apache-2.0
"""Following other people's trust roots through TUF, on the client's side.

`fetching` bounded downloads · `chain` what is kept, checked again without a network · `kept`
where it is kept · `following` fetch, refresh and use of an instance's trust · `merged` several
roots in one file · `showing` who is trusted, in words · `peers` setting up other clients ·
`doctor` what is wrong. Metadata is python-tuf's; what it starts from is always a pinned root.
"""
