; Scopes and what they bind. The vocabulary is documented in corpus/syntax/queries.py.

; Scopes -------------------------------------------------------------------------------------------------------------
(function_definition
  name: (identifier) @scope.name
  parameters: (_) @scope.header
  return_type: (type)? @scope.type
  body: (_) @scope.body) @scope.function

(class_definition
  name: (identifier) @scope.name
  superclasses: (argument_list . (_)? @scope.base)? @scope.header
  body: (_) @scope.body) @scope.class

(lambda body: (_) @scope.body) @scope.function
(list_comprehension) @scope.block
(set_comprehension) @scope.block
(dictionary_comprehension) @scope.block
(generator_expression) @scope.block

; Parameters ---------------------------------------------------------------------------------------------------------
(parameters (identifier) @binding.parameter)
(parameters (default_parameter name: (identifier) @binding.parameter value: (_) @binding.value))
(typed_parameter . (identifier) @binding.parameter type: (type) @binding.type)
(typed_parameter . (list_splat_pattern (identifier) @binding.parameter))
(typed_parameter . (dictionary_splat_pattern (identifier) @binding.parameter))
(typed_default_parameter name: (identifier) @binding.parameter type: (type) @binding.type)
(parameters [(list_splat_pattern (identifier) @binding.parameter) (dictionary_splat_pattern (identifier) @binding.parameter)])
(lambda_parameters (identifier) @binding.parameter)
(lambda_parameters (default_parameter name: (identifier) @binding.parameter value: (_) @binding.value))
(lambda_parameters [(list_splat_pattern (identifier) @binding.parameter) (dictionary_splat_pattern (identifier) @binding.parameter)])

; Variables ----------------------------------------------------------------------------------------------------------
(assignment left: (identifier) @binding.variable type: (type)? @binding.type right: (_)? @binding.value)
(pattern_list (identifier) @binding.variable)
(tuple_pattern (identifier) @binding.variable)
(list_pattern (identifier) @binding.variable)
(named_expression name: (identifier) @binding.variable value: (_) @binding.value)
(for_statement left: (identifier) @binding.variable)
(for_in_clause left: (identifier) @binding.variable)
(with_item value: (as_pattern . (_) @binding.value alias: (as_pattern_target (identifier) @binding.variable)))
(as_pattern_target (tuple (identifier) @binding.variable))
(except_clause value: (as_pattern . (_) @binding.type alias: (as_pattern_target (identifier) @binding.variable)))
(case_pattern (dotted_name . (identifier) @binding.variable .))

; Members of the class being written ---------------------------------------------------------------------------------
(assignment
  left: (attribute object: (identifier) @binding.object attribute: (identifier) @binding.member)
  type: (type)? @binding.type
  right: (_)? @binding.value)

(decorated_definition
  (decorator (_) @_decorator)
  definition: (function_definition name: (identifier) @binding.property return_type: (type) @binding.type)
  (#match? @_decorator "property$"))

; What a condition says of a name ------------------------------------------------------------------------------------
(if_statement
  condition: (call
    function: (identifier) @_test
    arguments: (argument_list . (identifier) @binding.narrowed . (_) @binding.type .))
  consequence: (_) @binding.region
  (#eq? @_test "isinstance"))

(boolean_operator
  left: (call
    function: (identifier) @_test
    arguments: (argument_list . (identifier) @binding.narrowed . (_) @binding.type .))
  right: (_) @binding.region
  (#eq? @_test "isinstance"))

(assert_statement
  (call
    function: (identifier) @_test
    arguments: (argument_list . (identifier) @binding.narrowed . (_) @binding.type .))
  (#eq? @_test "isinstance"))

; Imports ------------------------------------------------------------------------------------------------------------
(import_statement name: (dotted_name . (identifier) @binding.import @import.module))
(import_statement name: (aliased_import name: (_) @import.module alias: (identifier) @binding.import))
(import_from_statement
  module_name: (_) @import.module
  name: (dotted_name . (identifier) @binding.import @import.member .))
(import_from_statement
  module_name: (_) @import.module
  name: (aliased_import name: (_) @import.member alias: (identifier) @binding.import))
