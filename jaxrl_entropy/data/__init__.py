"""Problems, prompts, tokenizers and the order of training problems."""
