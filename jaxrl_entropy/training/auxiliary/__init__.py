"""Models trained beside the policy: critic, implicit reward."""
